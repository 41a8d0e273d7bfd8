package uploads_test

import (
	"testing"

	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/uploadstest"
)

// folder is a place for files on disk.
type folder string

func (f folder) Open(t testing.TB, o uploads.Options) *uploads.Store {
	t.Helper()
	s, err := uploads.Open(string(f), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestConformance checks stores on a folder.
func TestConformance(t *testing.T) {
	uploadstest.Run(t, 1<<20, func(t testing.TB) uploadstest.Place { return folder(t.TempDir()) })
}

package tus_test

import (
	"errors"
	"testing"

	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
	"github.com/galeserver/gale/uploads/tus/tustest"
)

// folder is a place for uploads in a folder.
type folder string

func (dir folder) Open(t testing.TB, files uploads.Options, o tus.Options) (*tus.Server, *uploads.Store) {
	t.Helper()
	store, err := uploads.Open(string(dir), files)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tus.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, store
}

func TestFolderConformance(t *testing.T) {
	tustest.Run(t, 256<<10, func(t testing.TB) tustest.Place { return folder(t.TempDir()) })
}

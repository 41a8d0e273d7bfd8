//go:build e2e

package storage_test

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/s3"
	"github.com/galeserver/gale/uploads/uploadstest"
)

// prefix is a place for files in object storage.
type prefix struct{ url string }

func (p prefix) Open(t testing.TB, o uploads.Options) *uploads.Store {
	t.Helper()
	target, err := s3.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s3.Open(target, s3.Options{Temp: t.TempDir(), PartSize: 5 << 20, Retry: 100 * time.Millisecond, Timeout: time.Minute, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err == nil {
		err = b.Probe(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s := uploads.New(b.Backend(), o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestE2EStorageConformance checks stores in object storage.
func TestE2EStorageConformance(t *testing.T) {
	s3test.Setenv(t)
	g := s3test.Start(t, t.TempDir())
	var n atomic.Int64
	uploadstest.Run(t, 5<<20, func(testing.TB) uploadstest.Place {
		return prefix{g.URL("place/" + strconv.FormatInt(n.Add(1), 10))}
	})
}

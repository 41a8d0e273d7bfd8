package s3

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
	"github.com/galeserver/gale/uploads/tus/tustest"
)

// place is a place for resumable uploads in a service.
type place struct {
	service *service
	redis   string
}

func newPlace(t testing.TB, redis string, change func(*service)) place {
	s := newService(t)
	s.prefix = rand.Text() // the limits in Redis are by prefix
	if change != nil {
		change(s)
	}
	return place{s, redis}
}

// open opens the place as another process does.
func (p place) open(t testing.TB, o uploads.Options) *Resumable {
	t.Helper()
	b := p.service.open(t, Options{PartSize: minPartSize, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	return b.Resumable(uploads.New(b.Backend(), o), sharedtest.Open(t, p.redis))
}

func (p place) Open(t testing.TB, files uploads.Options, o tus.Options) (*tus.Server, *uploads.Store) {
	t.Helper()
	r := p.open(t, files)
	o.Place = r
	s, err := tus.New(r.store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), r.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, r.store
}

func TestResumableConformance(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	redis := sharedtest.StateServer(t)
	for name, change := range map[string]func(*service){
		"all":                nil,
		"without conditions": func(s *service) { s.ignoreCompletion, s.ignoreMatch, s.noCopy = true, true, true },
	} {
		t.Run(name, func(t *testing.T) {
			tustest.Run(t, minPartSize, func(t testing.TB) tustest.Place { return newPlace(t, redis, change) })
		})
	}
}

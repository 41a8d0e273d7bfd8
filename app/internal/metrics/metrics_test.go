package metrics

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/galeserver/gale/app/internal/otlp"
	"github.com/galeserver/gale/jobs/celery"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

func TestState(t *testing.T) {
	p := pool.New(pool.Options{Workers: 1})
	go func() { _ = p.Run(t.Context()) }() // ends with the test
	s := Sources{
		Pools: map[string]*pool.Pool{"handlers": p}, Uploads: NewUploads(), Tasks: NewTasks(), Realtime: new(realtime.Counters),
		Refused: new(Refused), Limit: new(limit.Counters), Cache: new(cache.Counters), Program: &Program{Memory: new(atomic.Int64)},
		Celery: new(celery.Counters), Traces: new(otlp.Counters), Waiting: new(Waiting),
	}
	waiting := 1
	last := s.State()
	for name, count := range map[string]func(){
		"pool": func() {
			for errors.Is(p.Do(t.Context(), func(context.Context) error { return nil }), pool.ErrClosed) {
				runtime.Gosched() // until Run has begun
			}
		},
		"upload":  s.Uploads.FileBegan,
		"bytes":   func() { s.Uploads.FileWrote(1) },
		"task":    func() { s.Tasks.Count(meter.EventStarted, "inspect", "default") },
		"message": s.Realtime.Received,
		"open":    func() { s.Realtime.Opened(realtime.WebSocket) },
		"refused": func() { s.Refused.ConnRefused(server.LimitPerClient) },
		"limit":   func() { s.Limit.Granted.Add(1) },
		"cache":   func() { s.Cache.Hits.Add(1) },
		"program": func() { s.Program.Memory.Add(1) },
		"waiting": func() { s.Waiting.known.Store(&waiting) },
	} {
		if now := s.State(); now != last {
			t.Errorf("%s: changed before: %q", name, now)
		}
		count()
		now := s.State()
		if now == last {
			t.Errorf("%s: not changed: %q", name, now)
		}
		last = now
	}
	if got := (Sources{}).State(); got != "" {
		t.Errorf("without sources: %q", got)
	}
}

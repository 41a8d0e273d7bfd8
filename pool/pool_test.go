package pool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/pool"
)

// run starts a pool that ends with the test. The function that it returns drains the pool
// and waits until it is drained.
func run(t *testing.T, o pool.Options) (*pool.Pool, func()) {
	t.Helper()
	p := pool.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // ends with the pool
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	drain := sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(drain)
	return p, drain
}

func TestWorkersAndQueueAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, drain := run(t, pool.Options{Workers: 2, Queue: 3})
		block := make(chan struct{})
		var done sync.WaitGroup
		for range 5 {
			done.Go(func() {
				if err := p.Do(t.Context(), func(context.Context) error { <-block; return nil }); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		synctest.Wait()
		if s := p.Stats(); s.Running != 2 || s.Waiting != 3 {
			t.Errorf("running %d, waiting %d; want 2 and 3", s.Running, s.Waiting)
		}
		start := time.Now()
		if err := p.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, pool.ErrFull) {
			t.Errorf("Do on a full pool: %v; want ErrFull", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("ErrFull after %v; want it immediately", d)
		}
		close(block)
		done.Wait()
		drain()
		if s := p.Stats(); s.Done != 5 || s.Refused != 1 || s.Running != 0 || s.Waiting != 0 {
			t.Errorf("stats after: %+v", s)
		}
	})
}

func TestNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := run(t, pool.Options{Workers: 1, Queue: -1})
		block := make(chan struct{})
		first := make(chan error, 1)
		go func() { first <- p.Do(t.Context(), func(context.Context) error { <-block; return nil }) }() // ends with block
		synctest.Wait()
		if err := p.Do(t.Context(), nil); !errors.Is(err, pool.ErrFull) {
			t.Errorf("second call: %v; want ErrFull", err)
		}
		close(block)
		if err := <-first; err != nil {
			t.Errorf("first call: %v", err)
		}
	})
}

func TestDoReturnsTheError(t *testing.T) {
	p, _ := run(t, pool.Options{})
	want := errors.New("disk is full")
	if err := p.Do(t.Context(), func(context.Context) error { return want }); err != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestPanicError(t *testing.T) {
	p, _ := run(t, pool.Options{Workers: 1})
	err := p.Do(t.Context(), func(context.Context) error { panicHere(); return nil })
	var pe *pool.PanicError
	if !errors.As(err, &pe) {
		t.Fatalf("got %v; want a PanicError", err)
	}
	if pe.Value != "boom" || !strings.Contains(string(pe.Stack), "panicHere") {
		t.Errorf("value %v, stack:\n%s", pe.Value, pe.Stack)
	}
	cause := errors.New("cause")
	if err := p.Do(t.Context(), func(context.Context) error { panic(cause) }); !errors.Is(err, cause) {
		t.Errorf("panic(error): %v; want it to wrap the error", err)
	}
	if err := p.Do(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("after the panics: %v", err)
	}
	if s := p.Stats(); s.Panicked != 2 {
		t.Errorf("%d panics counted; want 2", s.Panicked)
	}
}

func panicHere() { panic("boom") }

func TestContextEndsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, drain := run(t, pool.Options{Workers: 1, Queue: 1})
		block := make(chan struct{})
		go func() { // ends with block
			_ = p.Do(t.Context(), func(context.Context) error { <-block; return nil })
		}()
		synctest.Wait()

		cause := errors.New("client has disconnected")
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() { // ends with ctx
			result <- p.Do(ctx, func(context.Context) error { t.Error("called although its context has ended"); return nil })
		}()
		synctest.Wait()
		cancel(cause)
		if err := <-result; err != cause {
			t.Errorf("got %v, want the context's cause", err)
		}
		// Another call can wait in the queue, although the worker is still busy.
		next := make(chan error, 1)
		go func() { next <- p.Do(t.Context(), func(context.Context) error { return nil }) }() // ends after block
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 1 || s.Abandoned != 1 || s.Refused != 0 {
			t.Errorf("stats: %+v", s)
		}
		close(block)
		if err := <-next; err != nil {
			t.Errorf("next: %v", err)
		}
		drain()
	})
}

func TestContextEndsWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, drain := run(t, pool.Options{Workers: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := p.Do(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second) // returns late
			return nil
		})
		if err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v; want nil after 2s", err, time.Since(start))
		}
		drain()
	})
}

func TestContextEndedBeforeDo(t *testing.T) {
	p, _ := run(t, pool.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Do(ctx, func(context.Context) error { t.Error("called"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDrainFinishesWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, drain := run(t, pool.Options{Workers: 1, Queue: 5})
		var results sync.WaitGroup
		for range 4 {
			results.Go(func() {
				if err := p.Do(context.Background(), func(context.Context) error { time.Sleep(time.Second); return nil }); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		drain()
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("drained in %v; want 4s", d)
		}
		if err := p.Do(context.Background(), nil); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("after drain: %v; want ErrClosed", err)
		}
		results.Wait()
		if s := p.Stats(); s.Done != 4 {
			t.Errorf("done %d; want 4", s.Done)
		}
	})
}

func TestConcurrentCallers(t *testing.T) {
	p, drain := run(t, pool.Options{Workers: 4, Queue: 8})
	var mu sync.Mutex
	var ok, full uint64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for range 200 {
				err := p.Do(context.Background(), func(context.Context) error { return nil })
				mu.Lock()
				switch {
				case err == nil:
					ok++
				case errors.Is(err, pool.ErrFull):
					full++
				default:
					t.Errorf("Do: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	drain()
	if s := p.Stats(); s.Done != ok || s.Refused != full || ok+full != 64*200 {
		t.Errorf("ok %d, full %d, stats %+v", ok, full, s)
	}
}

func BenchmarkDo(b *testing.B) {
	p := pool.New(pool.Options{Workers: 2, Queue: 1000})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = p.Run(ctx); close(ended) }() // ends with ctx
	fn := func(context.Context) error { return nil }
	for b.Loop() {
		_ = p.Do(ctx, fn)
	}
	cancel()
	<-ended
}

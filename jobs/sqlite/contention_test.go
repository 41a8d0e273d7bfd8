package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/sqlite"
)

func TestLockHeldByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	accept(t, s, "there")
	holder := start(t, "hold", path)
	holder.await(t)

	t.Run("the context bounds the wait", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "in-vain", Name: "work"})
		if !errors.Is(err, jobs.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want unavailable and the deadline", err)
		}
	})
	t.Run("reads do not wait", func(t *testing.T) { // the lock is held until the holder is killed
		if _, err := s.Get(t.Context(), "there"); err != nil {
			t.Error(err)
		}
	})
	t.Run("without a deadline the wait ends after 5 s", func(t *testing.T) {
		begin := time.Now()
		_, _, err := s.Enqueue(context.Background(), jobs.NewTask{ID: "in-vain", Name: "work"})
		if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "another process holds the lock") {
			t.Errorf("error %v", err)
		}
		if d := time.Since(begin); d < 4*time.Second {
			t.Errorf("took %v, want 5 s", d)
		}
	})
	holder.kill()
	if _, err := s.Get(t.Context(), "in-vain"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the refused task: %v", err)
	}
	if _, created, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "in-vain", Name: "work"}); err != nil || !created {
		t.Errorf("once the lock is free: %v, %v", created, err)
	}
}

// A process that is stopped while it holds the turn file does not block the others.
func TestStoppedProcessHoldsTurn(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	start(t, "queue", path).await(t)
	for i := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, _, err := s.Enqueue(ctx, jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// holdTurn holds the turn file until stdin ends.
func holdTurn(path string) error {
	f, err := os.OpenFile(path+"-turn", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	say("held")
	io.Copy(io.Discard, os.Stdin)
	return f.Close()
}

package sleep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !For(t.Context(), time.Hour) || time.Since(began) != time.Hour {
			t.Errorf("slept for %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if For(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("slept for %v until the context ended", time.Since(began))
		}
		if For(ctx, 0) || For(ctx, -time.Hour) {
			t.Error("slept although the context had ended")
		}
	})
}

func TestAligned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d = 500 * time.Millisecond
		time.Sleep(123 * time.Millisecond)
		for _, c := range []struct{ late, want time.Duration }{
			{0, 500}, {1, 499}, {100, 400}, {250, 250}, {251, 749}, {499, 501},
		} {
			if !Aligned(t.Context(), d) {
				t.Fatal("ended early")
			}
			if rest := time.Now().UnixNano() % int64(d); rest != 0 {
				t.Fatalf("woke %v after a multiple of %v", time.Duration(rest), d)
			}
			time.Sleep(c.late * time.Millisecond)
			if got := Align(d); got != c.want*time.Millisecond {
				t.Errorf("%v after a multiple: waits %v, want %v", c.late*time.Millisecond, got, c.want*time.Millisecond)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if Aligned(ctx, d) {
			t.Error("waited although the context had ended")
		}
	})
}

package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server/realtime"
)

var errDone = errors.New("done")

// Bus.Subscribe resumes, gets the messages of another process, and gets a gap for messages
// that are no longer kept.
func TestBackgroundSubscription(t *testing.T) {
	t.Parallel()
	client := sharedtest.Open(t, sharedtest.StateServer(t))
	here := startBus(t, client, realtime.BusOptions{History: 2})
	there := realtime.NewBus(client, realtime.BusOptions{History: 2})
	first := publish(t, there, "news", "one")
	publish(t, there, "news", "two")
	var got []string
	err := here.Subscribe(t.Context(), realtime.Start{Channel: "news", Resume: true, Since: first}, func(e realtime.Event) error {
		got = append(got, fmt.Sprintf("%d %s %v", e.Seq-first, e.Data, e.Gap))
		switch e.Data {
		case "two":
			publish(t, there, "news", "three")
		case "three": // meanwhile, publish more messages than the channel keeps
			for n := range 10 {
				publish(t, there, "news", fmt.Sprint("more ", n))
			}
			awaitEvent(t, here, first+12)
		case "more 9":
			return errDone
		}
		return nil
	})
	want := []string{"1 two false", "2 three false", "10  true", "11 more 8 false", "12 more 9 false"}
	if !errors.Is(err, errDone) || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if names := here.Channels(); len(names) != 0 {
		t.Errorf("still subscribed to %v", names)
	}
}

// awaitEvent waits until this process has the event.
func awaitEvent(t *testing.T, b *realtime.Bus, seq uint64) {
	t.Helper()
	err := b.Subscribe(t.Context(), realtime.Start{Channel: "news", Resume: true, Since: seq - 1}, func(e realtime.Event) error {
		if e.Seq == seq && !e.Gap {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		t.Error(err)
	}
}

// Bus.Subscribe returns when its context ends, or if the subscription cannot begin.
func TestBackgroundSubscriptionEnds(t *testing.T) {
	t.Parallel()
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{})
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, err := b.Publish(ctx, "news", []byte("one")); err != nil {
		t.Fatal(err)
	}
	err := b.Subscribe(ctx, realtime.Start{Channel: "news", Resume: true}, func(realtime.Event) error {
		cancel(errDone)
		return nil
	})
	if !errors.Is(err, errDone) {
		t.Errorf("after the context has ended: %v", err)
	}
	never := func(realtime.Event) error { t.Error("handle was called"); return nil }
	if err := b.Subscribe(t.Context(), realtime.Start{Channel: "no name"}, never); !errors.Is(err, realtime.ErrChannel) {
		t.Errorf("bad name: %v", err)
	}
	unreachable := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer unreachable.Close()
	bus := realtime.NewBus(unreachable, realtime.BusOptions{})
	if err := bus.Subscribe(t.Context(), realtime.Start{Channel: "news"}, never); !errors.Is(err, realtime.ErrAway) {
		t.Errorf("no Redis: %v", err)
	}
}

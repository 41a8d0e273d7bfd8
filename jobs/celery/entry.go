package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
)

const (
	// maxWatches is the largest number of tasks whose end a bridge awaits at once. It reads
	// the state of further tasks every few seconds.
	maxWatches = 2000
	// scanStep is the number of entries that are read at once.
	scanStep = 500
	// followPoll is the interval of looks at a task that is not accepted yet.
	followPoll = 200 * time.Millisecond
	// forgetAfter is the time after which an entry without a task is removed. A bridge that
	// was killed before it stored the task makes the entry again.
	forgetAfter = time.Hour
)

// entry is what a bridge remembers of a task until its result is stored.
type entry struct {
	Owner   string          `json:"owner"` // bridge that awaits the end
	Time    int64           `json:"time"`  // Unix time
	Task    string          `json:"task"`
	After   []string        `json:"after,omitempty"`    // tasks before it in the workflow, the nearest first
	OnError bool            `json:"on_error,omitempty"` // whether it is an errback
	Silent  bool            `json:"silent,omitempty"`   // whether no result is stored
	Group   string          `json:"group,omitempty"`
	Index   int             `json:"index,omitempty"`
	Chord   json.RawMessage `json:"chord,omitempty"` // body of the chord, for a part of one
}

// await stores entries.
func (b *Bridge) await(ctx context.Context, entries map[string]*entry) error {
	values := make([]any, 0, 2*len(entries))
	for id, e := range entries {
		e.Time = time.Now().Unix()
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		values = append(values, id, text)
	}
	return b.results.HSet(ctx, b.keys.waiting(), values...).Err()
}

// forget removes entries.
func (b *Bridge) forget(ctx context.Context, entries map[string]*entry) error {
	ids := make([]string, 0, len(entries))
	for id := range entries {
		ids = append(ids, id)
	}
	return b.results.HDel(ctx, b.keys.waiting(), ids...).Err()
}

// adopt awaits the tasks of bridges that give no sign of life, and tasks of its own that are
// not awaited yet. It also runs the bodies of chords that such bridges have left.
func (b *Bridge) adopt(ctx context.Context) error {
	living, adopted := map[string]bool{b.id: true}, 0
	iter := b.results.HScan(ctx, b.keys.waiting(), 0, "", scanStep).Iterator()
	for iter.Next(ctx) {
		id := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		e := &entry{}
		if err := json.Unmarshal([]byte(iter.Val()), e); err != nil {
			b.log.Warn("entry of a task of Celery cannot be decoded", "id", id, "error", err)
			continue
		}
		if _, known := living[e.Owner]; !known {
			n, err := b.broker.Exists(ctx, b.keys.alive(e.Owner)).Result()
			if err != nil {
				return err
			}
			living[e.Owner] = n > 0
		}
		if e.Owner != b.id && living[e.Owner] {
			continue
		}
		if e.Owner != b.id {
			adopted++
		}
		if err := b.own(ctx, id, e); err != nil {
			return err
		}
		b.watch(ctx, id, e)
	}
	if err := iter.Err(); err != nil {
		return fmt.Errorf("read the tasks of Celery that wait for results: %w", err)
	}
	if adopted > 0 {
		b.log.Info("tasks of a Celery bridge that has ended taken over: their results will be stored", "tasks", adopted)
	}
	return b.runBodies(ctx)
}

// own makes the bridge the owner of an entry.
func (b *Bridge) own(ctx context.Context, id string, e *entry) error {
	if e.Owner == b.id {
		return nil
	}
	e.Owner = b.id
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return adoptScript.Run(ctx, b.results, []string{b.keys.waiting()}, id, text).Err()
}

func (b *Bridge) watchAll(ctx context.Context, entries map[string]*entry) {
	for id, e := range entries {
		b.watch(ctx, id, e)
	}
}

// watch awaits the end of a task in the background, unless it does already or awaits too
// many others.
func (b *Bridge) watch(ctx context.Context, id string, e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watching[id] || len(b.watching) >= maxWatches {
		return
	}
	b.watching[id] = true
	b.watches.Go(func() { // ends with ctx or with the task
		defer func() {
			b.mu.Lock()
			delete(b.watching, id)
			b.mu.Unlock()
		}()
		o, err := b.end(ctx, id, e)
		for backoff := minIdle; err == nil; backoff = min(2*backoff, maxBackoff) {
			failed := b.publish(ctx, id, e, o)
			if failed == nil || ctx.Err() != nil {
				return
			}
			b.trouble(ctx, failed)
			sleep.For(ctx, backoff)
		}
		if ctx.Err() == nil {
			b.trouble(ctx, err) // the next look at the entries continues
		}
	})
}

// end waits for the end of a task.
func (b *Bridge) end(ctx context.Context, id string, e *entry) (o outcome, err error) {
	for ctx.Err() == nil {
		t, err := b.client.Store.Get(ctx, id)
		for err == nil && !t.State.Final() {
			t, err = b.client.Store.Watch(ctx, id, t.Version)
		}
		if err == nil {
			return outcomeOf(t), nil
		}
		if !errors.Is(err, jobs.ErrNotFound) {
			return o, err
		}
		o, settled, err := b.endBefore(ctx, e)
		if err != nil || settled {
			return o, err
		}
		sleep.For(ctx, followPoll)
	}
	return o, context.Cause(ctx)
}

// endBefore waits for the tasks before one that is not accepted yet. settled is true if that
// will never be accepted.
func (b *Bridge) endBefore(ctx context.Context, e *entry) (o outcome, settled bool, err error) {
	for i, id := range e.After {
		t, err := b.client.Store.Get(ctx, id)
		for err == nil && !t.State.Final() {
			t, err = b.client.Store.Watch(ctx, id, t.Version)
		}
		switch {
		case errors.Is(err, jobs.ErrNotFound):
			continue
		case err != nil:
			return o, false, err
		case t.State == jobs.StateSuccess:
			return o, e.OnError && i == 0, nil // an errback has no result
		case e.OnError && i == 0:
			return o, t.State == jobs.StateCancelled, nil
		case e.OnError:
			return o, true, nil
		}
		return outcomeOf(t), true, nil
	}
	return o, time.Since(time.Unix(e.Time, 0)) > forgetAfter, nil
}

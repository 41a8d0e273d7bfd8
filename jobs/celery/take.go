package celery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
)

const (
	// maxTaken is the largest number of messages that a bridge has taken and not yet
	// enqueued. They are enqueued by up to enqueuers goroutines at once.
	maxTaken  = 100
	enqueuers = 16
)

// take moves messages into the list of this bridge, enqueues their tasks, and then removes
// them from the list. A message is in one of the lists until its task is stored, so none is
// lost, and a message that is enqueued twice has the same id.
func (b *Bridge) take(ctx context.Context) {
	from := []string{b.keys.taken(b.id)}
	for _, queue := range b.queues {
		for _, priority := range priorities {
			from = append(from, b.keys.queue(queue, priority))
		}
	}
	idle, backoff := minIdle, minIdle
	for ctx.Err() == nil {
		messages, err := takeScript.Run(ctx, b.broker, from, maxTaken).StringSlice()
		if err == nil {
			err = b.acceptAll(ctx, messages)
		}
		switch {
		case err != nil:
			b.trouble(ctx, err)
			sleep.For(ctx, backoff)
			backoff = min(2*backoff, maxBackoff)
		case len(messages) == 0:
			sleep.For(ctx, idle)
			idle, backoff = min(2*idle, maxIdle), minIdle
		default:
			idle, backoff = minIdle, minIdle
		}
	}
}

// acceptAll enqueues the tasks of messages. It returns the first error that a later attempt
// may not have; the messages concerned stay in the list.
func (b *Bridge) acceptAll(ctx context.Context, messages []string) error {
	var all errgroup.Group
	all.SetLimit(enqueuers)
	for _, raw := range messages {
		all.Go(func() error { return b.accept(ctx, raw) })
	}
	return all.Wait()
}

// accept enqueues the task of a message.
func (b *Bridge) accept(ctx context.Context, raw string) error {
	m, err := parseMessage(raw)
	if err != nil {
		return b.reject(ctx, raw, "", err)
	}
	m.limitRetries(b.client)
	m.setOwner(b.id)
	switch revoked, err := b.isRevoked(ctx, m.task.ID); {
	case err != nil:
		return err
	case revoked || m.isExpired(time.Now()):
		return b.drop(ctx, raw, m, revoked)
	}
	if err := b.await(ctx, m.entries); err != nil {
		return err
	}
	if _, _, err := b.client.Enqueue(ctx, m.task); err != nil {
		if !permanent(err) {
			return err
		}
		if err := b.forget(ctx, m.entries); err != nil {
			return err
		}
		return b.reject(ctx, raw, m.task.ID, err)
	}
	if err := b.broker.LRem(ctx, b.keys.taken(b.id), 1, raw).Err(); err != nil {
		return err
	}
	b.counters.accepted.Add(1)
	b.log.Debug("task of a Celery client accepted", "id", m.task.ID, "task", m.task.Name)
	b.watchAll(ctx, m.entries)
	return nil
}

// drop ends a message that was revoked or has expired, with the result REVOKED.
func (b *Bridge) drop(ctx context.Context, raw string, m *message, revoked bool) error {
	if err := b.await(ctx, m.entries); err != nil {
		return err
	}
	reason := "expired"
	if revoked {
		reason = "revoked"
	}
	for id, e := range m.entries {
		o := outcome{state: stateRevoked, reason: reason}
		if e.OnError {
			o = outcome{}
		}
		if err := b.publish(ctx, id, e, o); err != nil {
			return err
		}
	}
	if err := b.broker.LRem(ctx, b.keys.taken(b.id), 1, raw).Err(); err != nil {
		return err
	}
	b.counters.dropped.Add(1)
	b.log.Info("message of a Celery client dropped", "id", m.task.ID, "task", m.task.Name, "reason", reason)
	return nil
}

// permanent reports whether an error of Enqueue is the fault of the message.
func permanent(err error) bool {
	for _, fault := range []error{jobs.ErrUnknownTask, jobs.ErrArgs, jobs.ErrOption, jobs.ErrTaken} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// rejection is an entry of the list of rejected messages.
type rejection struct {
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"` // as the client has sent it
	// Encoding is base64 for a message that is not text in UTF-8, else empty.
	Encoding string `json:"encoding,omitempty"`
}

// reject moves a message to the list of rejected ones.
func (b *Bridge) reject(ctx context.Context, raw, id string, reason error) error {
	r := rejection{Reason: utf8text.Cut(reason.Error(), 1000), Time: time.Now().UTC(), Message: raw}
	if !utf8.ValidString(raw) {
		r.Message, r.Encoding = base64.StdEncoding.EncodeToString([]byte(raw)), "base64"
	}
	entry, err := json.Marshal(r)
	if err != nil {
		return err
	}
	moved, err := rejectScript.Run(ctx, b.broker, []string{b.keys.taken(b.id), b.keys.rejected()}, raw, entry).Int()
	if err != nil || moved == 0 {
		return err
	}
	b.counters.rejected.Add(1)
	b.log.Warn("message of a Celery client rejected; it is kept in Redis", "list", b.keys.rejected(), "id", id, "reason", reason)
	return nil
}

// takeOver gives a sign of life, and takes the messages of bridges that give none. It reports
// whether there are such bridges.
func (b *Bridge) takeOver(ctx context.Context) (inherited bool, err error) {
	pipe := b.broker.TxPipeline()
	pipe.Set(ctx, b.keys.alive(b.id), "1", aliveFor)
	pipe.SAdd(ctx, b.keys.bridges(), b.id)
	if _, err := pipe.Exec(ctx); err != nil {
		return false, fmt.Errorf("sign of life: %w", err)
	}
	all, err := b.broker.SMembers(ctx, b.keys.bridges()).Result()
	if err != nil {
		return false, err
	}
	for _, other := range all {
		if other == b.id {
			continue
		}
		keys := []string{b.keys.alive(other), b.keys.taken(other), b.keys.taken(b.id), b.keys.bridges()}
		moved, err := inheritScript.Run(ctx, b.broker, keys, other).Int()
		if err != nil {
			return false, err
		}
		inherited = inherited || moved >= 0
		if moved > 0 {
			b.log.Warn("messages of a Celery bridge that has ended taken over", "messages", moved)
		}
	}
	return inherited, nil
}

package celery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
)

// revokedFor is how long a revoked id is remembered for a message that comes later, as in
// workers of Celery (REVOKE_EXPIRES).
const revokedFor = 3 * time.Hour

// command is a remote control command of Celery.
type command struct {
	Method    string `json:"method"`
	Arguments struct {
		TaskID    json.RawMessage `json:"task_id"` // a text or an array of texts
		Terminate bool            `json:"terminate"`
	} `json:"arguments"`
}

// listen executes the command revoke. Other commands are for workers of Celery.
func (b *Bridge) listen(ctx context.Context) {
	channels := []string{b.channel}
	if b.keys.prefix != "" {
		channels = append(channels, b.keys.prefix+b.channel)
	}
	sub := b.broker.Subscribe(ctx, channels...)
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // ReceiveMessage does not end with ctx
	for backoff := minIdle; ctx.Err() == nil; {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			b.trouble(ctx, err)
			sleep.For(ctx, backoff)
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		backoff = minIdle
		ids, terminate := parseRevoke(m.Payload)
		for _, id := range ids {
			if err := b.revoke(ctx, id, terminate); err != nil {
				b.trouble(ctx, err)
			}
		}
	}
}

// parseRevoke returns the valid ids of a command revoke, none for another command.
func parseRevoke(payload string) (ids []string, terminate bool) {
	var e envelope
	if json.Unmarshal([]byte(payload), &e) != nil {
		return nil, false
	}
	body := []byte(e.Body)
	if e.Properties.BodyEncoding == "base64" {
		decoded, err := base64.StdEncoding.DecodeString(e.Body)
		if err != nil {
			return nil, false
		}
		body = decoded
	}
	var c command
	if json.Unmarshal(body, &c) != nil || c.Method != "revoke" {
		return nil, false
	}
	var one string
	var given []string
	if json.Unmarshal(c.Arguments.TaskID, &one) == nil {
		given = []string{one}
	} else if json.Unmarshal(c.Arguments.TaskID, &given) != nil {
		return nil, false
	}
	for _, id := range given {
		if jobs.ValidID(id) {
			ids = append(ids, id)
		}
	}
	return ids, c.Arguments.Terminate
}

// revoke cancels a task that a bridge has accepted, and remembers the id for a message that
// comes later. As in Celery, a running task is only cancelled with terminate.
func (b *Bridge) revoke(ctx context.Context, id string, terminate bool) error {
	now := time.Now()
	pipe := b.broker.TxPipeline()
	pipe.ZAdd(ctx, b.keys.revoked(), redis.Z{Score: float64(now.Unix()), Member: id})
	pipe.ZRemRangeByScore(ctx, b.keys.revoked(), "-inf", strconv.FormatInt(now.Add(-revokedFor).Unix(), 10))
	pipe.Expire(ctx, b.keys.revoked(), revokedFor)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	ours, err := b.results.HExists(ctx, b.keys.waiting(), id).Result()
	if err != nil || !ours {
		return err
	}
	t, err := b.client.Store.Get(ctx, id)
	if err == nil && (t.State != jobs.StateRunning || terminate) {
		_, err = b.client.Store.Cancel(ctx, id)
	}
	if errors.Is(err, jobs.ErrNotFound) || errors.Is(err, jobs.ErrState) {
		return nil
	}
	if err == nil {
		b.log.Info("task revoked by a Celery client", "id", id)
	}
	return err
}

// isRevoked reports whether an id was revoked before its message was taken.
func (b *Bridge) isRevoked(ctx context.Context, id string) (bool, error) {
	_, err := b.broker.ZScore(ctx, b.keys.revoked(), id).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

package redisstream

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs/driver"
)

// Progress implements driver.Recorder. percent is limited to 0 to 100, and note to 4 KiB.
func (s *Store) Progress(ctx context.Context, l *driver.Lease, percent int, note string) error {
	percent, note = min(max(percent, 0), 100), driver.Note(note)
	if err := held(s.call(ctx, progressScript, append(fence(l), percent, note)...)); err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Finish implements driver.Recorder. Every outcome other than success is added to the
// failures, each cut to 4 KiB; the newest 100 are kept. Task.Error is cut to 64 KiB. A
// retrying task without RetryAt is due at once. Finish may be called again with the same
// outcome after a lost reply. If Outcome.Check returns an error, nothing is changed.
func (s *Store) Finish(ctx context.Context, l *driver.Lease, o driver.Outcome) error {
	args, err := outcomeArgs(l, o)
	if err == nil {
		err = held(s.call(ctx, finishScript, args...))
	}
	if err != nil {
		return fmt.Errorf("finish task %s: %w", l.Task.ID, err)
	}
	return nil
}

func outcomeArgs(l *driver.Lease, o driver.Outcome) ([]any, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.Bounded()
	failure, artifacts := `""`, "[]"
	var err error
	if o.Error != "" {
		if failure, err = jsonText(utf8text.Cut(o.Error, driver.MaxFailure)); err != nil {
			return nil, err
		}
	}
	if len(o.Artifacts) > 0 {
		if artifacts, err = jsonText(o.Artifacts); err != nil {
			return nil, err
		}
	}
	args := []any{string(o.State), string(o.Result), o.Error, failure, driver.GroupReason(o.Error), artifacts, micro(o.RetryAt), len(o.Next), len(o.NextGroups)}
	for _, n := range o.Next {
		args = append(args, taskArgs(n)...)
	}
	for _, g := range o.NextGroups {
		values, err := groupArgs(g)
		if err != nil {
			return nil, err
		}
		args = append(args, values...)
	}
	return append(append(fence(l), token(args)), args...), nil
}

// token returns a hash that identifies an outcome, so that a repeated call is recognized.
func token(args []any) string {
	h, text := fnv.New128a(), []byte(nil)
	for _, a := range args {
		switch a := a.(type) {
		case string:
			text = append(strconv.AppendInt(text[:0], int64(len(a)), 10), ' ')
			text = append(text, a...)
		case int:
			text = strconv.AppendInt(text[:0], int64(a), 10)
		case int64:
			text = strconv.AppendInt(text[:0], a, 10)
		default:
			text = fmt.Appendf(text[:0], "%q", a)
		}
		_, _ = h.Write(append(text, ' ')) // cannot fail
	}
	return hex.EncodeToString(h.Sum(text[:0]))
}

package redisstream

import (
	"context"
	"fmt"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// AppendLog implements driver.Recorder.
func (s *Store) AppendLog(ctx context.Context, l *driver.Lease, lines string) error {
	if err := held(s.call(ctx, logScript, append(fence(l), driver.LogLines(lines), driver.MaxLog)...)); err != nil {
		return fmt.Errorf("store log of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Log implements jobs.Reader.
func (s *Store) Log(ctx context.Context, id string) (string, error) {
	reply, err := s.callInTime(ctx, readLogScript, id)
	switch {
	case err != nil:
	case len(reply) != 2:
		err = errReply
	case reply[0] != int64(1):
		err = jobs.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("get log of task %s: %w", id, err)
	}
	return utf8text.Repair(fmt.Sprint(reply[1])), nil
}

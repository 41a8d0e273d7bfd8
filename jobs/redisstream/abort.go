package redisstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// CancelWorkflow implements jobs.Changer. The ids of the tasks that may belong to a workflow
// never change, so they are read before the script runs.
func (s *Store) CancelWorkflow(ctx context.Context, id string) error {
	err := s.abort(ctx, id)
	if err != nil {
		return fmt.Errorf("cancel workflow %s: %w", id, err)
	}
	return nil
}

func (s *Store) abort(ctx context.Context, id string) error {
	kind, parts, err := s.parts(ctx, id)
	if err != nil {
		return err
	}
	args := []any{id, kind, driver.AbortReason}
	for _, part := range parts {
		args = append(args, part)
	}
	reply, err := s.callInTime(ctx, abortScript, args...)
	if err != nil {
		return err
	}
	if len(reply) == 2 {
		return driver.PartOf(fmt.Sprint(reply[1]))
	}
	if len(reply) != 1 {
		return errReply
	}
	switch reply[0] {
	case int64(1):
		return nil
	case int64(0):
		return driver.ErrWorkflowEnded
	case int64(-1):
		return jobs.ErrNotFound
	}
	return errReply
}

// parts returns the ids of all tasks that may belong to the group with the id, or to the
// chain whose first task has the id.
func (s *Store) parts(ctx context.Context, id string) (kind string, ids []string, err error) {
	f, err := s.groupFields(ctx, id)
	if err == nil {
		err = json.Unmarshal(f.raw("members"), &ids)
		if callback := f.text("callback"); callback != "" {
			ids = append(ids, callback)
		}
		return "group", append(ids, strings.Fields(f.text("followers"))...), err
	}
	if !errors.Is(err, jobs.ErrNotFound) {
		return "", nil, err
	}
	first, err := s.get(ctx, id)
	if err == nil {
		err = driver.CheckCancelWorkflow(first)
	}
	if err != nil {
		return "", nil, err
	}
	return "task", append([]string{id}, first.FollowerIDs()...), nil
}

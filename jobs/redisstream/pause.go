package redisstream

import (
	"context"
	"fmt"
)

// Pause implements jobs.Changer.
func (s *Store) Pause(ctx context.Context, queue string) error {
	if _, err := s.callInTime(ctx, pauseScript, queue, "pause"); err != nil {
		return fmt.Errorf("pause queue %s: %w", queue, err)
	}
	return nil
}

// Resume implements jobs.Changer.
func (s *Store) Resume(ctx context.Context, queue string) error {
	if _, err := s.callInTime(ctx, pauseScript, queue, "resume"); err != nil {
		return fmt.Errorf("resume queue %s: %w", queue, err)
	}
	return nil
}

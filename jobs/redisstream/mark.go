package redisstream

import (
	"context"
	"fmt"
	"time"
)

// Mark implements driver.Marker.
func (s *Store) Mark(ctx context.Context, name string, to time.Time) (time.Time, error) {
	at := int64(0)
	if !to.IsZero() {
		at = to.UnixMicro()
	}
	reply, err := s.callInTime(ctx, markScript, name, at)
	if err == nil {
		at, _, err = numbers(reply)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("mark %s: %w", name, err)
	}
	if at == 0 {
		return time.Time{}, nil
	}
	return fromMicro(at), nil
}

package redisstream

import "time"

// SetPeriod sets the interval of audits, which is also the time after which an unused
// queue is removed.
func (s *Store) SetPeriod(d time.Duration) { s.period = d }

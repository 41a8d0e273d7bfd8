package redisstream

import "time"

// SetPeriod sets the time from one audit to the next, and for how long a queue
// must be unused before it is removed.
func (s *Store) SetPeriod(d time.Duration) { s.period = d }

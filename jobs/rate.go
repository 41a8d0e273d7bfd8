package jobs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate limits how often something may start: Count times in each Per, evenly
// spaced, as Celery's rate_limit does. The zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// maxRate is the largest Count. It is limited because the smallest interval is a
// microsecond.
const maxRate = 1_000_000

// UnmarshalText reads a rate such as 10/s, 100/m or 5/h. Errors wrap ErrOption.
func (r *Rate) UnmarshalText(text []byte) error {
	count, unit, _ := strings.Cut(string(text), "/")
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxRate || per == 0 {
		return fmt.Errorf("%w: rate %q: use a count from 1 to %d and a unit, such as 10/s, 100/m or 5/h", ErrOption, text, maxRate)
	}
	*r = Rate{n, per}
	return nil
}

// Interval is the time from one start to the next, at least a microsecond, or zero if
// there is no limit.
func (r Rate) Interval() time.Duration {
	if r.Count <= 0 || r.Per <= 0 {
		return 0
	}
	return max(time.Microsecond, (r.Per / time.Duration(r.Count)).Truncate(time.Microsecond))
}

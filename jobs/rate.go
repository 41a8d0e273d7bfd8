package jobs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrRate: the text is no rate; the error says what it should be.
var ErrRate = errors.New("invalid rate")

// Rate is how often something may happen at most: Count times in each Per, one
// as far from the other as Celery's rate_limit has them. Zero is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// RateSlack is for how long a start that could have been made is not lost: a
// worker that looks a moment late makes up for it, so that the rate is reached.
const RateSlack = 100 * time.Millisecond

// maxRate bounds Count: beyond it nothing is limited.
const maxRate = 1_000_000

// ParseRate reads a rate such as 10/s, 100/m or 5/h. Errors wrap ErrRate.
func ParseRate(text string) (Rate, error) {
	count, unit, _ := strings.Cut(text, "/")
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxRate || per == 0 {
		return Rate{}, fmt.Errorf("%w: %q is not as 10/s, 100/m or 5/h", ErrRate, text)
	}
	return Rate{n, per}, nil
}

// Every is the time from one start to the next, at least a microsecond; zero if
// there is no limit.
func (r Rate) Every() time.Duration {
	if r.Count <= 0 || r.Per <= 0 {
		return 0
	}
	return max(time.Microsecond, (r.Per / time.Duration(r.Count)).Truncate(time.Microsecond))
}

// Due reports, for a name of which the next may start at next, whether it may
// now. One that would be further off than the rate ever puts it does not count:
// the clock was set, or the rate was another. All in microseconds.
func (r Rate) Due(next, now int64) bool { return next <= now || next > now+r.Every().Microseconds() }

// Take is Due, and says when one may start after that. It is the generic cell
// rate algorithm (ITU-T I.371, annex A) with RateSlack for its tolerance.
func (r Rate) Take(next, now int64) (after int64, ok bool) {
	if !r.Due(next, now) {
		return next, false
	}
	return max(min(next, now), now-RateSlack.Microseconds()) + r.Every().Microseconds(), true
}

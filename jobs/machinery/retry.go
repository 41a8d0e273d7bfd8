package machinery

import (
	"errors"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// retry returns the delay before the next attempt, and false if there is none.
func (r *run) retry(err error) (time.Duration, bool) {
	failures := len(r.lease.Task.Failures)
	if failures >= r.lease.Task.MaxRetries || errors.Is(err, jobs.ErrArgs) {
		return 0, false // another attempt would get the same wrong arguments
	}
	custom, ok := errors.AsType[*jobs.RetryError](err)
	switch {
	case !ok || !custom.Never && custom.After == 0:
		return driver.RetryDelay(failures), true
	case custom.Never:
		return 0, false
	}
	return custom.After, true
}

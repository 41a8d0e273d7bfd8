//go:build !race

package sqlite_test

import "time"

// late is what jobs.Store promises.
const late = 100 * time.Millisecond

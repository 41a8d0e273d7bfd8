//go:build !race

package redisstream_test

import "time"

// late is what jobs.Store promises.
const late = 100 * time.Millisecond

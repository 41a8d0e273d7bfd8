//go:build race

package redisstream_test

import "time"

// late under the race detector.
const late = time.Second

//go:build race

package sqlite_test

import "time"

// late under the race detector, which makes SQLite some fifteen times slower.
const late = time.Second

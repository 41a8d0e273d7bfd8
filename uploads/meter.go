package uploads

import (
	"maps"
	"sync"
	"time"
)

// Meter counts uploads. Its methods are called from many goroutines at once and
// between two chunks, so they must not block. They are not called for what was
// refused before there was a file (an unacceptable name, one that is taken).
type Meter interface {
	// FileBegan is called when a file has been begun.
	FileBegan()
	// FileWrote is called for every chunk that was written, in bytes.
	FileWrote(n int)
	// FileEnded is called once for each that began. code is one of the codes of
	// File, CodeInvalid for an upload that broke off; took is since it began.
	FileEnded(code int, took time.Duration)
}

type noMeter struct{}

func (noMeter) FileBegan()                   {}
func (noMeter) FileWrote(int)                {}
func (noMeter) FileEnded(int, time.Duration) {}

// Counters is a Meter that adds up. The zero value is ready.
type Counters struct {
	mu    sync.Mutex
	stats Stats
}

// Stats are the sums of a Counters.
type Stats struct {
	Open     int           // files begun and not ended
	Bytes    int64         // written, also of files that were not stored
	Files    map[int]int64 // ended, by their code
	Duration time.Duration // of all that ended, together
}

// FileBegan counts a file.
func (c *Counters) FileBegan() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Open++
}

// FileWrote counts bytes.
func (c *Counters) FileWrote(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Bytes += int64(n)
}

// FileEnded counts an outcome.
func (c *Counters) FileEnded(code int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.Files == nil {
		c.stats.Files = make(map[int]int64)
	}
	c.stats.Open--
	c.stats.Files[code]++
	c.stats.Duration += took
}

// Stats returns the sums as they are now.
func (c *Counters) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Files = maps.Clone(s.Files)
	return s
}

package uploads

import (
	"maps"
	"sync"
	"time"
)

// Meter counts uploads. Its methods are called from several goroutines at once, also
// while a file is written, and must not block. They are not called for a file that is
// refused before it is created, for example because of its name.
type Meter interface {
	// FileBegan is called when a file has been created.
	FileBegan()
	// FileWrote is called after each write of n bytes.
	FileWrote(n int)
	// FileEnded is called once for each FileBegan. code is the code of the File,
	// CodeInvalid if the upload was discarded, for example because the body ended early,
	// or CodePartial after Pause. took is the time since FileBegan.
	FileEnded(code int, took time.Duration)
	// QuarantineEnded is called for each file that has left the quarantine. passed is false
	// if the file was removed.
	QuarantineEnded(passed bool)
}

type noMeter struct{}

func (noMeter) FileBegan()                   {}
func (noMeter) FileWrote(int)                {}
func (noMeter) FileEnded(int, time.Duration) {}
func (noMeter) QuarantineEnded(bool)         {}

// Counters is a Meter that counts in memory. The zero value is ready to use.
type Counters struct {
	mu    sync.Mutex
	stats Stats
}

// Stats are the sums that Counters.Stats returns.
type Stats struct {
	Open     int           // files created and not ended
	Bytes    int64         // bytes written, also of files that were not stored
	Files    map[int]int64 // number of ended files by code
	Duration time.Duration // total duration of all ended files
	Released int64         // files that have passed the quarantine
	Rejected int64         // files that the quarantine has removed
}

// FileBegan implements Meter.
func (c *Counters) FileBegan() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Open++
}

// FileWrote implements Meter.
func (c *Counters) FileWrote(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Bytes += int64(n)
}

// FileEnded implements Meter.
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

// QuarantineEnded implements Meter.
func (c *Counters) QuarantineEnded(passed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed {
		c.stats.Released++
	} else {
		c.stats.Rejected++
	}
}

// Stats returns the current sums.
func (c *Counters) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Files = maps.Clone(s.Files)
	return s
}

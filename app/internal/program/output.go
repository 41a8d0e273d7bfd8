package program

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
)

// Limits of the output that goes into the log.
const (
	maxLine     = 16 << 10 // bytes of a line; the rest is cut off
	maxPerSec   = 500      // lines of a process in a second; more are dropped
	dropPeriod  = time.Second
	dropMessage = "lines of the program's output were dropped: it writes too many"
)

// output writes the lines that a program writes into the log.
type output struct {
	log     *slog.Logger
	now     func() time.Time
	dropped *atomic.Int64 // lines that were dropped

	mu     sync.Mutex
	since  time.Time // start of the present period
	count  int       // lines in the present period
	missed int       // lines dropped in the present period
}

// copy writes lines from r into the log until r ends. stream is stdout or stderr.
func (o *output) copy(r io.Reader, stream string) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			o.line(stream, string(line), cut)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // skips the rest of the line
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// line logs a line, unless there have been too many in this period.
func (o *output) line(stream, text string, cut bool) {
	text = utf8text.Repair(strings.TrimRight(text, "\r\n"))
	if cut {
		text += "…"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.now(); now.Sub(o.since) >= dropPeriod {
		o.reportDropped()
		o.since, o.count = now, 0
	}
	if o.count++; o.count > maxPerSec {
		o.missed++
		o.dropped.Add(1)
		return
	}
	o.log.Info("program output", "stream", stream, "line", text)
}

// end is called after the last line.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reportDropped()
}

func (o *output) reportDropped() {
	if o.missed > 0 {
		o.log.Warn(dropMessage, "lines", o.missed, "limit_per_second", maxPerSec)
	}
	o.missed = 0
}

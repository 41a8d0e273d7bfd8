package command

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/galeserver/gale/internal/utf8text"
)

const (
	// maxTail is how much of the output the task object shows.
	maxTail = 16 << 10
	// maxLine bounds a line that may be progress.
	maxLine = 4 << 10
)

// progressLine is how a command says how far it is.
var progressLine = regexp.MustCompile(`^progress (\d{1,3})(?: (.*))?$`)

// output takes what a command writes: lines of progress are reported, of the
// rest the end is kept. It never refuses a write, so that the command does not
// die of a broken pipe before it is told to end.
type output struct {
	limit  int
	report func(percent int, note string)
	over   chan struct{} // closed when more than limit was written

	mu    sync.Mutex
	total int
	line  []byte
	kept  []byte
}

func newOutput(limit int, report func(int, string)) *output {
	return &output{limit: limit, report: report, over: make(chan struct{})}
}

// Write is called by stdout and stderr.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.total
	o.total += len(p)
	if o.total > o.limit {
		if before <= o.limit {
			close(o.over)
		}
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		o.line = append(o.line, rest[:end]...)
		if rest[end-1] == '\n' || len(o.line) > maxLine {
			o.endLine()
		}
		rest = rest[end:]
	}
	return len(p), nil
}

// endLine reports the line, or keeps it.
func (o *output) endLine() {
	defer func() { o.line = o.line[:0] }()
	m := progressLine.FindStringSubmatch(strings.TrimRight(string(o.line), "\r\n"))
	if m != nil {
		percent, err := strconv.Atoi(m[1])
		if err == nil && percent <= 100 {
			o.report(percent, utf8text.Repair(m[2]))
			return
		}
	}
	o.kept = append(o.kept, o.line...)
	if len(o.kept) > 2*maxTail {
		o.kept = append(o.kept[:0], o.kept[len(o.kept)-maxTail:]...)
	}
}

// flush ends a last line that has no end.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.endLine()
	}
}

// tail is the end of what was written, without progress.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(utf8text.Repair(string(o.kept[max(0, len(o.kept)-maxTail):])))
}

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
	// maxTail is how much of the end of the output is stored as the result, in bytes.
	maxTail = 16 << 10
	// maxLine is the longest line that can report progress, in bytes.
	maxLine = 4 << 10
)

// progressLine matches a line with which a command reports its progress.
var progressLine = regexp.MustCompile(`^progress (\d{1,3})(?: (.*))?$`)

// output receives the output of a command. It reports lines with progress and keeps the
// end of the rest. Write never fails: a broken pipe would end the command before await
// stops it.
type output struct {
	limit  int
	report func(percent int, note string)
	over   chan struct{} // closed when the output exceeds limit

	mu    sync.Mutex
	total int    // bytes written
	line  []byte // incomplete last line
	kept  []byte // end of the output without progress lines
}

func newOutput(limit int, report func(int, string)) *output {
	return &output{limit: limit, report: report, over: make(chan struct{})}
}

// Write implements io.Writer for both stdout and stderr.
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

// endLine reports the line as progress or appends it to kept.
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

// flush handles a last line without a newline.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.endLine()
	}
}

// tail returns the end of the output, without progress lines.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(utf8text.Repair(string(o.kept[max(0, len(o.kept)-maxTail):])))
}

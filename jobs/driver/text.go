package driver

import (
	"strings"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
)

// Bounds of the texts that a task collects. A task is written anew at each
// change, so it must stay of a size. Stores cut nothing themselves: they keep
// what Outcome.Bounded, GroupReason, Note and LogLines return.
const (
	MaxError   = 64 << 10         // bytes of Task.Error
	MaxFailure = 4 << 10          // bytes of each text in Task.Failures
	MaxNote    = 4 << 10          // bytes of Task.Note
	MaxLog     = 64 << 10         // bytes of a task's log
	MaxLogLine = 16 << 10         // bytes of a line of it
	MaxReason  = MaxFailure - 256 // bytes of Group.Error; leaves room for an id and ChordError's words

	// MaxFailures is how many Failures are kept, the newest.
	MaxFailures = jobs.MaxRetries
)

// AddFailure appends to a task's failures and drops the oldest beyond
// MaxFailures.
func AddFailure(all []jobs.Failure, f jobs.Failure) []jobs.Failure {
	f.Error = utf8text.Cut(f.Error, MaxFailure)
	all = append(all, f)
	return all[max(0, len(all)-MaxFailures):]
}

// Note is what a task keeps of what its handler says.
func Note(text string) string { return utf8text.Cut(text, MaxNote) }

// LogLines returns lines as they are added to a task's log: each ends, none is
// longer than MaxLogLine, and together they are at most MaxLog bytes, the last
// ones. So a store may cut the log at any end of a line, see CutLog.
func LogLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(utf8text.Cut(strings.TrimSuffix(line, "\n"), MaxLogLine-1))
		b.WriteByte('\n')
	}
	return CutLog(b.String())
}

// CutLog keeps the last whole lines of a log that fit into MaxLog bytes.
func CutLog(text string) string {
	if len(text) <= MaxLog {
		return text
	}
	text = text[len(text)-MaxLog:]
	return text[strings.IndexByte(text, '\n')+1:]
}

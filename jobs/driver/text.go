package driver

import (
	"strings"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
)

// Limits of the texts of a task. They are limited because a store writes the whole task
// at each change. Stores do not cut texts themselves: they store what Outcome.Bounded,
// GroupReason, Note and LogLines return.
const (
	MaxError   = 64 << 10         // bytes of Task.Error
	MaxFailure = 4 << 10          // bytes of each text in Task.Failures
	MaxNote    = 4 << 10          // bytes of Task.Note
	MaxLog     = 64 << 10         // bytes of a task's log
	MaxLogLine = 16 << 10         // bytes of a line of the log
	MaxReason  = MaxFailure - 256 // bytes of Group.Error, with room for the words of ChordError

	// MaxFailures is the number of failures that are kept, the newest ones.
	MaxFailures = jobs.MaxRetries
)

// AddFailure appends a failure, cut to MaxFailure, and keeps the newest MaxFailures.
func AddFailure(all []jobs.Failure, f jobs.Failure) []jobs.Failure {
	f.Error = utf8text.Cut(f.Error, MaxFailure)
	all = append(all, f)
	return all[max(0, len(all)-MaxFailures):]
}

// Note cuts the note of Job.Progress to MaxNote.
func Note(text string) string { return utf8text.Cut(text, MaxNote) }

// LogLines returns the lines of text as a log stores them: each ends with a newline and
// has at most MaxLogLine bytes, and the last MaxLog bytes are kept. A store can thus cut
// a log at any newline, see CutLog.
func LogLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(utf8text.Cut(strings.TrimSuffix(line, "\n"), MaxLogLine-1))
		b.WriteByte('\n')
	}
	return CutLog(b.String())
}

// CutLog returns the last whole lines of a log that fit into MaxLog bytes.
func CutLog(text string) string {
	if len(text) <= MaxLog {
		return text
	}
	text = text[len(text)-MaxLog:]
	return text[strings.IndexByte(text, '\n')+1:]
}

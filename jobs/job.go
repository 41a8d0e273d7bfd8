package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/galeserver/gale/internal/typed"
	"github.com/galeserver/gale/internal/utf8text"
)

// Job is one attempt at a task. A Handler uses it to read the arguments, to report progress
// and to set the result. All methods but Return may be called from many goroutines.
type Job struct {
	ID      string
	Name    string
	Attempt int // 1 for the first
	// Kwargs are the arguments by name of a task whose Definition has Keywords, a JSON
	// object; nil for all others.
	Kwargs json.RawMessage
	// Headers are NewTask.Headers, a JSON object, or nil.
	Headers json.RawMessage
	// Log adds the id and name of the task and the attempt to each record. Records of
	// level info and above are also stored with the task, the last 64 KiB of them; see
	// Reader.Log.
	Log *slog.Logger

	args   []json.RawMessage
	result json.RawMessage
	worker Reporter
}

// Reporter is the part of a worker to which a Job reports. Its methods may be called
// from many goroutines.
type Reporter interface {
	// Progress implements Job.Progress.
	Progress(percent int, note string)
	// Artifact implements Job.Artifact.
	Artifact(name string) (io.WriteCloser, error)
}

// maxProgressNote is the largest size of the note of Job.Progress, in bytes.
const maxProgressNote = 1000

// Job makes the Job of an attempt at t for the handler of d. Arguments that were left
// out get their defaults. A test of a handler may set r to nil: then progress is dropped
// and Artifact returns an error. Errors wrap ErrArgs.
func (d Definition) Job(t *Task, attempt int, log *slog.Logger, r Reporter) (*Job, error) {
	j := &Job{ID: t.ID, Name: t.Name, Attempt: attempt, Headers: t.Headers, Log: log, worker: r}
	if err := json.Unmarshal(t.Args, &j.args); err != nil {
		return nil, fmt.Errorf("%w: not a JSON array: %w", ErrArgs, err)
	}
	if d.Keywords {
		j.Kwargs = t.Kwargs
		return j, nil
	}
	// A program without the definition has stored the arguments as it got them.
	kwargs, err := typed.MembersOf(t.Kwargs)
	if err != nil {
		return nil, fmt.Errorf("%w: kwargs of %s must be a JSON object", ErrArgs, t.Name)
	}
	if d.input != nil {
		var faults []string
		if j.args, faults, err = d.input.validate(j.args, kwargs, incoming{}, true); err != nil {
			return nil, fmt.Errorf("input of %s: %w", d.Name, err)
		}
		if len(faults) > 0 {
			return nil, fmt.Errorf("%w: input of %s: %s", ErrArgs, d.Name, strings.Join(faults, "; "))
		}
		return j, nil
	}
	var faults []string
	if j.args, faults = d.placeKeywords(j.args, kwargs); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrArgs, strings.Join(faults, "; "))
	}
	if j.args, faults = d.fillDefaults(j.args); len(faults) > 0 {
		return nil, errors.New(faults[0])
	}
	return j, nil
}

// Args stores the arguments, by position, in the variables that targets point to. The
// error wraps ErrArgs if the number of targets differs from the number of arguments, or if
// an argument cannot be decoded into its target.
func (j *Job) Args(targets ...any) error {
	if len(targets) != len(j.args) {
		return fmt.Errorf("%w: %s got %d arguments, takes %d", ErrArgs, j.Name, len(j.args), len(targets))
	}
	for i, target := range targets {
		if err := json.Unmarshal(j.args[i], target); err != nil {
			return fmt.Errorf("%w: argument %d of %s %w", ErrArgs, i+1, j.Name, typed.DecodeError(err))
		}
	}
	return nil
}

// Len returns the number of arguments.
func (j *Job) Len() int { return len(j.args) }

// Progress reports how much of the work is done, 0 to 100 percent, and a note for clients
// that watch the task. Notes are cut to 1000 bytes. It may be called often: at most ten
// reports a second are stored, and the last one is stored when the attempt ends.
func (j *Job) Progress(percent int, note string) {
	if j.worker != nil {
		j.worker.Progress(min(max(percent, 0), 100), utf8text.Cut(note, maxProgressNote))
	}
}

// Return sets the result of the task to v, encoded as JSON. Invalid UTF-8 becomes
// U+FFFD. It returns an error if v cannot be encoded.
func (j *Job) Return(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	j.result = utf8text.RepairJSON(raw)
	return nil
}

// Result returns the result that Return has set, or nil.
func (j *Job) Result() json.RawMessage { return j.result }

// Artifact creates a file that is stored with the task and that clients can download
// by its name. The file becomes visible when Close returns nil. A later attempt at the
// task replaces it. A file that is not closed when the attempt ends is dropped, so do not
// call Close after an error. The error wraps artifacts.ErrName if the name is invalid. Errors
// of this method, Write and Close wrap uploads.ErrUnavailable if the files are in object
// storage and that does not respond.
func (j *Job) Artifact(name string) (io.WriteCloser, error) {
	if j.worker == nil {
		return nil, errNoArtifacts
	}
	return j.worker.Artifact(name)
}

var errNoArtifacts = errors.New("this worker stores no artifacts")

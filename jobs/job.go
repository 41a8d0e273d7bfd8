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

// Job is one attempt at a task, as its handler sees it.
type Job struct {
	ID      string
	Name    string
	Attempt int // 1 for the first
	// Log carries the task's id, name and attempt. From level info on it is kept
	// with the task besides, the last MaxLog bytes, for those who look at it.
	Log *slog.Logger

	args   []json.RawMessage
	result json.RawMessage
	worker Reporter
}

// Reporter is what a worker does for the handler of an attempt. Its methods may
// be called from many goroutines.
type Reporter interface {
	// Progress takes how far the work is, 0 to 100, and what it does now.
	Progress(percent int, note string)
	// Artifact is Job.Artifact.
	Artifact(name string) (io.WriteCloser, error)
}

// maxProgressNote bounds what a handler says with its progress, in bytes.
const maxProgressNote = 1000

// Job prepares an attempt at a task for the handler of d, with the defaults of
// arguments that are left out. log is the attempt's; r may be nil, for one that
// nobody watches. Errors wrap ErrArgs.
func (d Definition) Job(t *Task, attempt int, log *slog.Logger, r Reporter) (*Job, error) {
	j := &Job{ID: t.ID, Name: t.Name, Attempt: attempt, Log: log, worker: r}
	if err := json.Unmarshal(t.Args, &j.args); err != nil {
		return nil, fmt.Errorf("%w: not a JSON array: %w", ErrArgs, err)
	}
	if d.input != nil {
		var wrong []string
		if j.args, wrong = d.input.accept(j.args, nil, 0, true); len(wrong) > 0 {
			return nil, fmt.Errorf("%w: input of %s: %s", ErrArgs, d.Name, strings.Join(wrong, "; "))
		}
		return j, nil
	}
	var wrong []string
	if j.args, wrong = d.fill(j.args); len(wrong) > 0 {
		return nil, errors.New(wrong[0])
	}
	return j, nil
}

// Args stores the arguments, by position, in what targets point to. Fewer
// targets than arguments, more, or a type that does not fit, is an error.
func (j *Job) Args(targets ...any) error {
	if len(targets) != len(j.args) {
		return fmt.Errorf("%w: %s got %d, takes %d", ErrArgs, j.Name, len(j.args), len(targets))
	}
	for i, target := range targets {
		if err := json.Unmarshal(j.args[i], target); err != nil {
			return fmt.Errorf("%w: argument %d of %s %w", ErrArgs, i+1, j.Name, typed.DecodeError(err))
		}
	}
	return nil
}

// Len is how many arguments there are.
func (j *Job) Len() int { return len(j.args) }

// Progress says how far the work is, 0 to 100, and what it does now. It may be
// called as often as you like: what comes faster than ten times a second is
// kept back, and the last word is written with the outcome.
func (j *Job) Progress(percent int, note string) {
	if j.worker != nil {
		j.worker.Progress(min(max(percent, 0), 100), utf8text.Cut(note, maxProgressNote))
	}
}

// Return sets the task's result, any value that JSON can hold. What is not valid
// UTF-8 becomes U+FFFD, also in a json.RawMessage.
func (j *Job) Return(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	j.result = utf8text.RepairJSON(raw)
	return nil
}

// Result returns what Return has set, or nil.
func (j *Job) Result() json.RawMessage { return j.result }

// Artifact makes a file that stays with the task under a name, for clients to
// fetch. It is there, whole, once Close has returned nil; a later attempt at
// the task replaces it. An invalid name is an error wrapping artifacts.ErrName.
func (j *Job) Artifact(name string) (io.WriteCloser, error) {
	if j.worker == nil {
		return nil, errNoArtifacts
	}
	return j.worker.Artifact(name)
}

var errNoArtifacts = errors.New("this worker keeps no artifacts")

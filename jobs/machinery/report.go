package machinery

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/artifacts"
)

// report is the jobs.Reporter of an attempt.
type report struct {
	id      string
	attempt int
	ctx     context.Context //nolint:containedctx // of the attempt; its artifacts are written within it
	files   artifacts.Files // nil: artifacts are not stored
	write   func(percent int, note string)

	mu        sync.Mutex
	ended     bool // whether the attempt has ended
	open      []artifacts.Writer
	artifacts []string // names of complete artifacts
	latest    progress // arguments of the last call of Progress
	stored    progress // last progress that was written to the store
	storedAt  time.Time
}

type progress struct {
	percent int
	note    string
}

// progressEvery is the shortest time between two writes of progress to the store.
const progressEvery = 100 * time.Millisecond

// Progress implements jobs.Reporter. It writes at most once in progressEvery; see pending.
func (r *report) Progress(percent int, note string) {
	r.mu.Lock()
	latest := progress{percent, note}
	r.latest = latest
	due := latest != r.stored && time.Since(r.storedAt) >= progressEvery
	if due {
		r.stored, r.storedAt = latest, time.Now()
	}
	r.mu.Unlock()
	if due {
		r.write(latest.percent, latest.note)
	}
}

// errEnded is the error for an artifact that is created after the end of its attempt.
var errEnded = errors.New("the attempt has ended")

// artifact is a file that a handler writes.
type artifact struct {
	artifacts.Writer
	closed func() // called when the file is complete
}

// Close implements io.Closer.
func (a artifact) Close() error {
	err := a.Writer.Close()
	if err == nil {
		a.closed()
	}
	return err
}

// Artifact implements jobs.Reporter.
func (r *report) Artifact(name string) (io.WriteCloser, error) {
	if r.files == nil {
		return nil, errors.New("this worker stores no artifacts")
	}
	w, err := r.files.Create(r.ctx, r.id, name, r.attempt)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	ended := r.ended
	r.open = append(r.open, w)
	r.mu.Unlock()
	if ended {
		w.Discard()
		return nil, errEnded
	}
	return artifact{w, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Contains(r.artifacts, name) {
			r.artifacts = append(r.artifacts, name)
		}
	}}, nil
}

// end discards the artifacts that the handler has not closed. It is called when the attempt
// has ended, and the handler may still run.
func (r *report) end() {
	r.mu.Lock()
	r.ended = true
	left := r.open
	r.open = nil
	r.mu.Unlock()
	for _, w := range left {
		w.Discard()
	}
}

// pending returns the last progress, and true if it is not stored yet.
func (r *report) pending() (progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest, r.latest != r.stored
}

// names returns the names of the artifacts that are complete.
func (r *report) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.artifacts)
}

package machinery

import (
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
	files   *artifacts.Folder
	write   func(percent int, note string)

	mu        sync.Mutex
	artifacts []string
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

// Artifact implements jobs.Reporter.
func (r *report) Artifact(name string) (io.WriteCloser, error) {
	if r.files == nil {
		return nil, errors.New("this worker stores no artifacts")
	}
	return r.files.Create(r.id, name, r.attempt, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Contains(r.artifacts, name) {
			r.artifacts = append(r.artifacts, name)
		}
	})
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

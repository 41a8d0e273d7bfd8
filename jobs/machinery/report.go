package machinery

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/artifacts"
)

// report is the Reporter of an attempt.
type report struct {
	id      string
	attempt int
	files   *artifacts.Folder
	write   func(percent int, note string)

	mu        sync.Mutex
	artifacts []string
	said      progress // what Progress was called with last
	written   progress // what the store has of it
	writtenAt time.Time
}

type progress struct {
	percent int
	note    string
}

// progressEvery is the shortest time between two writes of progress to the
// store: faster than anyone reads, slower than a disk minds.
const progressEvery = 100 * time.Millisecond

// Progress implements jobs.Reporter. What comes too fast is kept back.
func (r *report) Progress(percent int, note string) {
	r.mu.Lock()
	said := progress{percent, note}
	r.said = said
	due := said != r.written && time.Since(r.writtenAt) >= progressEvery
	if due {
		r.written, r.writtenAt = said, time.Now()
	}
	r.mu.Unlock()
	if due {
		r.write(said.percent, said.note)
	}
}

// Artifact implements jobs.Reporter.
func (r *report) Artifact(name string) (io.WriteCloser, error) {
	if r.files == nil {
		return nil, errors.New("this worker keeps no artifacts")
	}
	return r.files.Create(r.id, name, r.attempt, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Contains(r.artifacts, name) {
			r.artifacts = append(r.artifacts, name)
		}
	})
}

// unsaid returns what Progress has kept back, if it has.
func (r *report) unsaid() (progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said, r.said != r.written
}

// made returns the names of the artifacts that are complete.
func (r *report) made() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.artifacts)
}

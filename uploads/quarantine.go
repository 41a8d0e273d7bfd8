package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Verdict is the result of Options.Quarantine for a file.
type Verdict int

// Verdicts.
const (
	VerdictPending Verdict = iota // not known yet: Options.Quarantine is called again
	VerdictPassed                 // the file leaves the quarantine
	VerdictFailed                 // the file is removed
)

// Limits of the files whose verdict a process waits for.
const (
	maxHeld     = 1000                   // records of files; the files of further records are found by Journal.Retry
	minHeldWait = 200 * time.Millisecond // time until the first call of Options.Quarantine after the upload
	maxHeldWait = 5 * time.Second
)

// errHeld is the error for a file whose verdict is not known yet.
var errHeld = errors.New("file in quarantine")

// held is a record of files whose verdict this process waits for.
type held struct {
	record Record
	left   []Pending
	due    time.Time // of the next call
	wait   time.Duration
}

// OpenQuarantined is Open, but also opens a file in quarantine. It is for the check of that
// file.
func (s *Store) OpenQuarantined(directory, filename string) (Content, error) {
	if err := CheckName(directory, filename); err != nil {
		return nil, err
	}
	if s.backend.Quarantine == nil {
		return s.backend.Files.Open(context.Background(), directory, filename)
	}
	return s.backend.Quarantine.OpenHidden(context.Background(), directory, filename)
}

// hide puts a new file into quarantine, if there is one.
func (s *Store) hide(ctx context.Context, w Writer) (hidden bool, err error) {
	if s.options.Quarantine == nil {
		return false, nil
	}
	if s.backend.Quarantine == nil {
		return false, errors.New("the file store has no quarantine")
	}
	if err := w.Hide(ctx); err != nil {
		return false, fmt.Errorf("put file into quarantine: %w", err)
	}
	return true, nil
}

// settle does what is left to do for a stored file. For one in quarantine it asks for the
// verdict; while that is pending, the error is errHeld. Then it calls Options.Stored.
func (s *Store) settle(ctx context.Context, p Pending) error {
	if p.Quarantined {
		passed, err := s.inspect(ctx, p)
		if err != nil || !passed || !s.needsStored(p.Directory, p.Filename) {
			return err
		}
	}
	return s.callStored(ctx, p)
}

// inspect asks for the verdict about a file and carries it out. It can be repeated.
func (s *Store) inspect(ctx context.Context, p Pending) (passed bool, err error) {
	if s.options.Quarantine == nil {
		return false, errors.New("file in quarantine, but no check is set: set -quarantine again, or remove the file")
	}
	verdict, err := s.callQuarantine(ctx, p)
	if err != nil {
		return false, fmt.Errorf("check file in quarantine: %w", err)
	}
	switch verdict {
	case VerdictPassed:
		err = s.backend.Quarantine.Release(ctx, p)
	case VerdictFailed:
		err = s.backend.Quarantine.Reject(ctx, p)
	default:
		return false, errHeld
	}
	if errors.Is(err, fs.ErrNotExist) { // removed in the meantime
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end quarantine: %w", err)
	}
	passed = verdict == VerdictPassed
	s.options.Meter.QuarantineEnded(passed)
	if passed {
		s.log.InfoContext(ctx, "file released from quarantine", "id", p.ID, "directory", p.Directory, "filename", p.Filename)
	} else {
		s.log.WarnContext(ctx, "file removed: it did not pass the quarantine", "id", p.ID, "directory", p.Directory, "filename", p.Filename)
		s.uncount(ctx, p.Directory, p.Filename)
	}
	return passed, nil
}

// callQuarantine calls Options.Quarantine and turns a panic into an error.
func (s *Store) callQuarantine(ctx context.Context, p Pending) (v Verdict, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("Options.Quarantine panicked: %v", panicked)
		}
	}()
	return s.options.Quarantine(ctx, p.ID, p.file())
}

// hold keeps a record until the verdicts about its files are known. It returns false if this
// process cannot wait for them.
func (s *Store) hold(r Record, left []Pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || len(s.held) >= maxHeld {
		return false
	}
	s.held = append(s.held, &held{record: r, left: left, due: time.Now().Add(minHeldWait), wait: minHeldWait})
	return true
}

// settleHeld asks for the verdicts of held files until ctx ends.
func (s *Store) settleHeld(ctx context.Context) {
	s.setRunning(true)
	var ticks <-chan time.Time // never, if no file can be in quarantine
	if s.options.Quarantine != nil {
		every := time.NewTicker(minHeldWait)
		defer every.Stop()
		ticks = every.C
	}
	for {
		select {
		case <-ctx.Done():
			for _, h := range s.setRunning(false) { // another process, or the next one, asks
				h.record.End(context.WithoutCancel(ctx), h.left)
			}
			return
		case <-ticks:
		}
		for _, h := range s.dueHeld() {
			s.settleOne(ctx, h)
		}
	}
}

// setRunning sets whether records are held, and returns those that are.
func (s *Store) setRunning(running bool) (all []*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
	if !running {
		all, s.held = s.held, nil
	}
	return all
}

// dueHeld returns the records whose next call is due.
func (s *Store) dueHeld() (due []*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, h := range s.held {
		if !h.due.After(now) {
			due = append(due, h)
		}
	}
	return due
}

// settleOne asks for the verdicts of a record, and ends it when all are known.
func (s *Store) settleOne(ctx context.Context, h *held) {
	var left []Pending
	waiting := false
	for _, p := range h.left {
		err := s.settle(ctx, p)
		if err == nil {
			continue
		}
		left = append(left, p)
		if waiting = waiting || errors.Is(err, errHeld); !errors.Is(err, errHeld) && ctx.Err() == nil {
			s.log.WarnContext(ctx, "callback for stored file failed, will retry", "id", p.ID, "directory", p.Directory, "filename", p.Filename, "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.left = left
	if waiting {
		h.wait = min(h.wait*3/2, maxHeldWait)
		h.due = time.Now().Add(h.wait)
		return
	}
	if at := slices.Index(s.held, h); at >= 0 {
		s.held = slices.Delete(s.held, at, at+1)
		h.record.End(context.WithoutCancel(ctx), left) // Journal.Retry repeats what has failed
	}
}

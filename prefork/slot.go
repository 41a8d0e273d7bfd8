package prefork

import (
	"fmt"
	"iter"
	"time"
)

// State is the state of a process and of its slot; the package comment shows the
// transitions.
type State string

// The states of a slot.
const (
	StateBackoff State = "backoff" // no process; the next one starts after the delay
	StateBooting State = "booting"
	StateLive    State = "live"
	StateStalled State = "stalled" // connections wait and none is accepted, or no heartbeat
	StateHung    State = "hung"    // stalled for the hang timeout; about to be killed
	StateLeaving State = "leaving"
	StateStopped State = "stopped"
)

// States are all states of a slot.
func States() []State {
	return []State{StateBackoff, StateBooting, StateLive, StateStalled, StateHung, StateLeaving, StateStopped}
}

// maxLeaving bounds the processes of one slot that leave at the same time; the
// next replacement waits.
const maxLeaving = 8

// slot is a place for a process. Only the master's goroutine touches it.
type slot struct {
	role         string
	number       int
	keep         bool // a reload leaves its process alone
	listener     int  // descriptor of its socket, -1 if it has none
	page         *page
	reports      *reports // of its processes; nil: none
	mergedReport []byte   // sum of the reports of those that are gone

	current *process   // does the slot's work, or is about to; nil: none
	next    *process   // boots to take current's place; nil: none
	leaving []*process // finish what they do

	startAt         time.Time // when a process may be started again; zero: no need
	generation      int       // processes so far
	restarts        int       // of those, how many replaced one that died by itself
	hangs           int       // how many were killed because they hung
	unexpectedExits exitTimes
	started         time.Time // when the last process was
	replaceReason   string    // why the current process is replaced by the next
	lastExit        string

	removing        bool      // no new connections; the slot is removed when none waits
	queueEmptySince time.Time // since when no connection waits in the socket; zero: some do
	removed         bool      // the socket is closed, no process will come

	adopter *process // sibling that accepts from the socket meanwhile; nil: none
}

// process is one child. Only the master's goroutine touches it.
type process struct {
	slot       *slot
	pid        int
	control    control
	generation int
	release    int // of the master that started it: which binary and configuration
	counters   *Counters
	index      int // number of the lane; -1: it has none

	state       State
	since       time.Time // when the state was entered
	deadline    time.Time // when the state must have changed; zero: never
	readyAt     time.Time // when it became ready
	quitSent    bool      // SIGQUIT was sent, SIGKILL is next
	exitReason  string    // why the master made it leave or killed it; empty: it did not
	resources   string    // of the machine, as variables for the Go runtime
	maxRequests int64     // requests after which it is replaced; 0: never
	rss         int64     // resident memory in bytes when it was last weighed
	health      health
}

func (s *slot) name() string { return fmt.Sprintf("%s.%d", s.role, s.number) }

// state is that of the slot's current process, if it has one.
func (s *slot) state() State {
	switch {
	case s.removing || s.removed && len(s.leaving) > 0:
		return StateLeaving
	case s.removed:
		return StateStopped
	case s.current != nil:
		return s.current.state
	}
	return StateBackoff
}

// liveProcess returns the process that takes connections from the slot's own
// socket; nil if none does.
func (s *slot) liveProcess() *process {
	if s.current != nil && s.current.state == StateLive {
		return s.current
	}
	return nil
}

// processes are all of the slot's, in any state.
func (s *slot) processes() iter.Seq[*process] {
	return func(yield func(*process) bool) {
		for _, p := range append([]*process{s.current, s.next}, s.leaving...) {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

// enter moves the process to a state that must end within limit; 0 is no limit.
func (p *process) enter(state State, now time.Time, limit time.Duration) {
	p.state, p.since, p.deadline = state, now, time.Time{}
	if limit > 0 {
		p.deadline = now.Add(limit)
	}
}

package prefork

import (
	"fmt"
	"iter"
	"time"
)

// State is the state of a process and of its slot. The package comment shows the
// transitions.
type State string

// The states of a slot.
const (
	StateBackoff State = "backoff" // no process; the next one starts after a delay
	StateBooting State = "booting" // started, but not ready
	StateLive    State = "live"    // ready and working
	StateStalled State = "stalled" // does not accept connections, or sends no heartbeat
	StateHung    State = "hung"    // stalled for Options.HangTimeout, about to be killed
	StateLeaving State = "leaving" // drains, or the slot is being removed
	StateStopped State = "stopped" // the slot is removed and its last process has exited
)

// States returns all states of a slot.
func States() []State {
	return []State{StateBackoff, StateBooting, StateLive, StateStalled, StateHung, StateLeaving, StateStopped}
}

// maxLeaving is the maximum number of leaving processes in a slot. While a slot has that
// many, its current process is not replaced.
const maxLeaving = 8

// slot is a place for one process, and for its predecessors while they drain. Only the
// goroutine of Run uses it.
type slot struct {
	role         string
	number       int
	keep         bool  // a reload does not replace its process
	optional     bool  // the server is ready without it
	maxRequests  int64 // number of requests after which a process is replaced, without the random part; 0: unlimited
	maxRSS       int64 // resident memory in bytes at which a process is replaced; 0: unlimited
	listener     int   // descriptor of its listening socket; -1: none
	page         *page
	reports      *reports // reports of its processes; nil: none
	mergedReport []byte   // merged reports of processes that have exited

	current *process   // process that does the work of the slot, or will do it when ready; nil: none
	next    *process   // successor of current, not ready yet; nil: none
	leaving []*process // processes that drain

	startAt         time.Time // time from which the next process may be started; zero: no start is scheduled
	generation      int       // number of processes that were started
	restarts        int       // number of unexpected exits, without failed successors
	hangs           int       // number of processes that were killed because they hung
	unexpectedExits exitTimes
	started         time.Time // time of the last start of a process
	replaceReason   string    // reason why next replaces current
	lastExit        string    // reason of the last exit

	removing        bool      // the slot gets no new connections, and is removed when its accept queue is empty
	queueEmptySince time.Time // while removing: time at which its accept queue became empty; zero: it is not empty
	removed         bool      // the socket is closed, and no further process is started

	adopter *process // process of another slot that accepts from the socket; nil: none
}

// process is one child. Only the goroutine of Run uses it.
type process struct {
	slot       *slot
	pid        int
	control    control
	generation int
	release    int // number of the release that it was started from
	counters   *Counters
	index      int // index of its counters and report; -1: it has none

	state       State
	since       time.Time // start of the state
	deadline    time.Time // time by which the state must end; zero: no deadline
	readyAt     time.Time // time at which it became ready, or end of the last pause of the master after that
	quitSent    bool      // SIGQUIT was sent, SIGKILL follows
	exitReason  string    // reason why the master drains or kills it; empty: the master does neither
	resources   string    // its resource limits, see resourceLimits
	maxRequests int64     // number of requests after which it is replaced; 0: unlimited
	rss         int64     // resident memory in bytes at the last reading, with the programs that it runs
	health      health
}

// configure sets what the slot takes from its role.
func (s *slot) configure(role Role) {
	s.keep, s.optional, s.maxRequests, s.maxRSS = role.KeepOnReload, role.Optional, role.MaxRequests, role.MaxRSS
}

func (s *slot) name() string { return fmt.Sprintf("%s.%d", s.role, s.number) }

// state returns the state of the slot. Unless the slot is being removed, that is the
// state of its current process.
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

// liveProcess returns the current process if it is live, else nil.
func (s *slot) liveProcess() *process {
	if s.current != nil && s.current.state == StateLive {
		return s.current
	}
	return nil
}

// processes iterates over all processes of the slot.
func (s *slot) processes() iter.Seq[*process] {
	return func(yield func(*process) bool) {
		for _, p := range append([]*process{s.current, s.next}, s.leaving...) {
			if p != nil && !yield(p) {
				return
			}
		}
	}
}

// enter changes the state of a process. The state must end within limit; 0 means no
// limit.
func (p *process) enter(state State, now time.Time, limit time.Duration) {
	p.state, p.since, p.deadline = state, now, time.Time{}
	if limit > 0 {
		p.deadline = now.Add(limit)
	}
}

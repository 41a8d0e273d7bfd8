package prefork

import (
	"fmt"
	"time"
)

// State is where a slot stands; the picture is in the package comment.
type State string

// The states of a slot.
const (
	Waiting State = "backoff"
	Booting State = "booting"
	Live    State = "live"
	Stalled State = "stalled" // connections wait and none is accepted, or no heartbeat
	Hung    State = "hung"    // stalled for the hang timeout; about to be killed
	Leaving State = "leaving"
	Stopped State = "stopped"
)

// slot is a place for a process. Only the master's goroutine touches it.
type slot struct {
	role     string
	number   int
	listener int // descriptor of its socket, -1 if its role has none
	page     *Page

	state      State
	pid        int // 0: no process
	control    control
	generation int       // processes so far
	restarts   int       // of those, how many replaced one that died by itself
	since      time.Time // when the state was entered
	deadline   time.Time // when the state must have changed; zero: never
	booted     time.Time // when the process said that it was ready
	deaths     deaths
	doom       string // why the master killed the process, if it did
	lastExit   string
	pulse      pulse

	// For a slot that listens.
	index   int   // of its socket within the group
	adopter *slot // who accepts from its socket meanwhile; nil: nobody else
}

func (s *slot) name() string { return fmt.Sprintf("%s.%d", s.role, s.number) }

// enter moves the slot to a state that must end within limit; 0 is no limit.
func (s *slot) enter(state State, now time.Time, limit time.Duration) {
	s.state, s.since, s.deadline = state, now, time.Time{}
	if limit > 0 {
		s.deadline = now.Add(limit)
	}
}

package prefork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// SlotStatus is the state of a slot.
type SlotStatus struct {
	Slot        string `json:"slot"`
	Role        string `json:"role"`
	PID         int    `json:"pid"`
	State       State  `json:"state"`
	Generation  int    `json:"generation"`
	Restarts    int    `json:"restarts"`
	LastExit    string `json:"last_exit"`
	Connections int    `json:"connections"`
	AcceptQueue int    `json:"accept_queue"`
	RSS         int64  `json:"rss"` // resident memory in bytes
}

// Status is the state of all slots.
type Status struct {
	// ReloadFailed is why the last reload changed nothing, or has not reached
	// every slot; empty if there was none, or it succeeded.
	ReloadFailed string
	Slots        []SlotStatus
}

// ErrNotRunning: Run has ended.
var ErrNotRunning = errors.New("master is not running")

// Status returns the state of the slots, in their order. It may be
// called from any goroutine while Run runs.
func (m *Master) Status(ctx context.Context) (status Status, err error) {
	err = m.call(ctx, func() { status = m.status() })
	return status, err
}

// call runs f on Run's goroutine, which owns all slots. f must be quick.
func (m *Master) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case m.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-m.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Master) status() Status {
	status := Status{ReloadFailed: m.reloadError(), Slots: make([]SlotStatus, len(m.slots.all))}
	for i, s := range m.slots.all {
		one := SlotStatus{
			Slot: s.name(), Role: s.role, State: s.state(),
			Generation: s.generation, Restarts: s.restarts, LastExit: s.lastExit,
			Connections: s.page.connections(),
		}
		if s.current != nil {
			one.PID, one.RSS = s.current.pid, m.sys.memory(s.current.pid)
		}
		if s.listener >= 0 {
			one.AcceptQueue = m.sys.acceptQueue(s.listener)
		}
		status.Slots[i] = one
	}
	return status
}

// residentMemory reads the second field of /proc/PID/statm, in pages
// (proc_pid_statm(5)). It is 0 if there is no such process.
func residentMemory(pid int) int64 {
	if pid == 0 {
		return 0
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

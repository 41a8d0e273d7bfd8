package prefork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// SlotStatus is what the master knows of a slot.
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

// ErrNotRunning is what Status returns when Run has ended.
var ErrNotRunning = errors.New("master is not running")

// Status returns what the master knows of its slots, in their order. It may be
// called from any goroutine while Run runs.
func (m *Master) Status(ctx context.Context) ([]SlotStatus, error) {
	answer := make(chan []SlotStatus, 1)
	select {
	case m.requests <- answer:
		return <-answer, nil
	case <-m.ended:
		return nil, ErrNotRunning
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (m *Master) status() []SlotStatus {
	all := make([]SlotStatus, len(m.slots))
	for i, s := range m.slots {
		all[i] = SlotStatus{
			Slot: s.name(), Role: s.role, PID: s.pid, State: s.state,
			Generation: s.generation, Restarts: s.restarts, LastExit: s.lastExit,
			Connections: s.page.connections(),
			RSS:         residentMemory(s.pid),
		}
		if s.listener >= 0 {
			all[i].AcceptQueue = acceptQueue(s.listener)
		}
	}
	return all
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

package prefork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// SlotStatus is the status of a slot.
type SlotStatus struct {
	Slot        string `json:"slot"`         // name, such as serve.0
	Role        string `json:"role"`         // name of the role
	PID         int    `json:"pid"`          // current process; 0: none
	State       State  `json:"state"`        // state of the slot
	Generation  int    `json:"generation"`   // number of processes that were started
	Restarts    int    `json:"restarts"`     // number of unexpected exits, without those of successors
	LastExit    string `json:"last_exit"`    // reason of the last exit; empty: none
	Connections int    `json:"connections"`  // open connections of all its processes
	AcceptQueue int    `json:"accept_queue"` // connections that no process has accepted yet
	RSS         int64  `json:"rss"`          // resident memory in bytes of the current process and the programs that it runs
}

// Status is the status of a master.
type Status struct {
	// ReloadFailed is the reason why the last reload changed nothing, or has not
	// reached every slot. It is empty if the last reload succeeded, or if there was
	// none.
	ReloadFailed string
	// Reloads is the number of reloads that reached every slot. RefusedReloads is the
	// number of reloads that failed and changed nothing.
	Reloads, RefusedReloads int
	// Reloading is true while a reload is under way or requested.
	Reloading bool
	// Stopping is true after SIGTERM, SIGINT or Stop.
	Stopping bool
	// Slots are the slots, in the order of their roles and numbers.
	Slots []SlotStatus
}

// ErrNotRunning: Master.Run has returned. Before that, Status, Stats and Dial wait
// until Run is called or their context ends.
var ErrNotRunning = errors.New("master is not running")

// Status returns the status. It may be called from any goroutine while Run runs. The
// error is ErrNotRunning, or the cause of ctx if that ends first.
func (m *Master) Status(ctx context.Context) (status Status, err error) {
	err = m.call(ctx, func() { status = m.status() })
	return status, err
}

// call runs f in the goroutine of Run, which owns all state. f must be quick.
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
	status := Status{
		ReloadFailed: m.reloadError(), Reloads: m.rollout.reloads, RefusedReloads: m.reloader.refused, Stopping: m.stopping != "",
		Reloading: m.reloader.active() || m.reloader.pending || m.rollout.reloading,
		Slots:     make([]SlotStatus, len(m.slots.all)),
	}
	for i, s := range m.slots.all {
		one := SlotStatus{
			Slot: s.name(), Role: s.role, State: s.state(),
			Generation: s.generation, Restarts: s.restarts, LastExit: s.lastExit,
			Connections: s.page.connections(),
		}
		if s.current != nil {
			one.PID, one.RSS = s.current.pid, m.sys.memory(s.current.pid)+s.current.counters.ProgramMemory.Load()
		}
		if s.listener >= 0 {
			one.AcceptQueue = m.sys.acceptQueue(s.listener)
		}
		status.Slots[i] = one
	}
	return status
}

// residentMemory returns the resident memory of a process in bytes: the second field of
// /proc/PID/statm (proc_pid_statm(5)). It is 0 if there is no such process.
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

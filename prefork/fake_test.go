package prefork

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSystem is an operating system for tests in a synctest bubble. Its processes are
// only numbers. The test sends their messages and lets them exit.
type fakeSystem struct {
	mu       sync.Mutex // the test and the master run at the same time
	nextPID  int
	fail     error // error of the next spawn
	starts   []time.Time
	controls map[int]chan string
	exits    []int
	kills    []string
	children chan<- os.Signal
	signals  chan<- os.Signal
	rss      int64         // resident memory of every process
	arrived  chan struct{} // reports a connection to an idle master
	queued   int           // connections in each accept queue
	exec     func() error
	notified []string           // states sent to systemd
	cancel   context.CancelFunc // ends the context of the master
}

// trialPID is the PID of the trial of a reload.
const trialPID = 99

type fakeControl struct {
	messages  chan string
	interrupt chan struct{}
}

func (c fakeControl) Read(p []byte) (int, error) {
	select {
	case text, ok := <-c.messages:
		if !ok {
			return 0, os.ErrClosed
		}
		return copy(p, text), nil
	case <-c.interrupt:
		return 0, os.ErrDeadlineExceeded
	}
}
func (c fakeControl) Close() error           { close(c.messages); return nil }
func (c fakeControl) Send(string, int) error { return nil }
func (c fakeControl) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		c.interrupt <- struct{}{}
	}
	return nil
}

func (f *fakeSystem) system() system {
	return system{
		now: time.Now,
		spawn: func(command) (int, control, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.starts = append(f.starts, time.Now())
			if err := f.fail; err != nil {
				f.fail = nil
				return 0, nil, err
			}
			f.nextPID++
			messages := make(chan string)
			f.controls[f.nextPID] = messages
			return f.nextPID, fakeControl{messages, make(chan struct{}, 1)}, nil
		},
		kill: func(pid int, sig syscall.Signal) error {
			f.mu.Lock()
			f.kills = append(f.kills, sig.String())
			f.mu.Unlock()
			if sig == syscall.SIGKILL {
				f.exit(pid)
			}
			return nil
		},
		wait: func() (int, syscall.WaitStatus, bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.exits) == 0 {
				return 0, 0, false
			}
			pid := f.exits[0]
			f.exits = f.exits[1:]
			if pid == trialPID && f.exec != nil {
				return pid, 0, true
			}
			return pid, syscall.WaitStatus(syscall.SIGKILL), true
		},
		startTrial: func(trialCommand) (*trial, error) {
			report, err := newLimitedMemfd("report", 10)
			if err != nil {
				return nil, err
			}
			if f.exec != nil { // the trial succeeds
				_, _ = report.WriteString(configMessage)
				f.exit(trialPID)
			}
			output, err := newLimitedMemfd("output", 10)
			return &trial{pid: trialPID, report: report, output: output}, err
		},
		holdSignals: func(chan<- os.Signal) {},
		identity:    func(string) string { return "" },
		exec:        func(string, []string, []string, []byte) error { return f.exec() },
		memory: func(int) int64 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.rss
		},
		acceptQueue: func(int) int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.queued
		},
		attachSteering: func(int, []socketWeight) error { return nil },
		awaitConnection: func([]int) (<-chan struct{}, func(), error) {
			return f.arrived, func() {}, nil
		},
		sdNotify: func(state string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.notified = append(f.notified, state)
			return nil
		},
		cpus:        func() int { return 4 },
		memoryLimit: func() int64 { return 0 },
		subscribe: func(ch chan<- os.Signal, sigs ...os.Signal) {
			if sigs[0] == syscall.SIGCHLD {
				f.children = ch
			} else {
				f.signals = ch
			}
		},
	}
}

func (f *fakeSystem) exit(pid int) {
	f.mu.Lock()
	f.exits = append(f.exits, pid)
	f.mu.Unlock()
	select {
	case f.children <- syscall.SIGCHLD:
	default:
	}
}

// recorded returns the times of the starts of processes, and the signals sent to them.
func (f *fakeSystem) recorded() (starts []time.Time, kills []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts), slices.Clone(f.kills)
}

// send sends a message from the newest process unless text is empty, and returns the PID
// of the process.
func (f *fakeSystem) send(text string) (pid int) {
	f.mu.Lock()
	pid = f.nextPID
	messages := f.controls[pid]
	f.mu.Unlock()
	if text != "" {
		messages <- text
	}
	return pid
}

// inBubble runs a master with slots of one role and a fake system in a synctest bubble, and
// calls test.
func inBubble(t *testing.T, slots int, hangTimeout time.Duration, test func(t *testing.T, m *Master, f *fakeSystem)) {
	inBubbleWith(t, []Role{{Name: "serve", Slots: slots}}, hangTimeout, test)
}

// inBubbleWith is like inBubble for any roles.
func inBubbleWith(t *testing.T, roles []Role, hangTimeout time.Duration, test func(t *testing.T, m *Master, f *fakeSystem)) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{
			Roles: roles, Command: []string{"/bin/true"},
			Grace: 10 * time.Second, BootTimeout: 3 * time.Second, HangTimeout: hangTimeout, MaxRSS: 1 << 30,
		})
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeSystem{controls: map[int]chan string{}}
		*m.sys = f.system()
		ctx, cancel := context.WithCancel(context.Background())
		f.cancel = cancel
		ended := make(chan error)
		go func() { ended <- m.run(ctx) }() // ends after cancel
		synctest.Wait()
		test(t, m, f)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if _, err := m.Status(context.Background()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Status after the end: %v", err)
		}
	})
}

package prefork

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSystem is a kernel in a synctest bubble: processes are numbers, and the
// test decides when they speak and die.
type fakeSystem struct {
	mu       sync.Mutex // the test looks while the master works
	nextPID  int
	fail     error // of the next spawn
	starts   []time.Time
	controls map[int]chan string
	exits    []int
	kills    []string
	children chan<- os.Signal
	signals  chan<- os.Signal
	rss      int64 // of every process
}

// trialPID is the process that tries the new binary.
const trialPID = 99

type fakeControl struct{ said chan string }

func (c fakeControl) Read(p []byte) (int, error) {
	text, ok := <-c.said
	if !ok {
		return 0, os.ErrClosed
	}
	return copy(p, text), nil
}
func (c fakeControl) Close() error                    { close(c.said); return nil }
func (c fakeControl) Send(string, int) error          { return nil }
func (c fakeControl) SetReadDeadline(time.Time) error { return nil }

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
			said := make(chan string)
			f.controls[f.nextPID] = said
			return f.nextPID, fakeControl{said}, nil
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
			return pid, syscall.WaitStatus(syscall.SIGKILL), true
		},
		try: func(trialCommand) (*trial, error) {
			report, err := scratch("report", 10)
			if err != nil {
				return nil, err
			}
			said, err := scratch("errors", 10)
			return &trial{pid: trialPID, report: report, errors: said}, err
		},
		memory: func(int) int64 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.rss
		},
		queue:       func(int) int { return 0 },
		tell:        func(string) error { return nil },
		cpus:        func() int { return 4 },
		memoryLimit: func() int64 { return 0 },
		notify: func(ch chan<- os.Signal, sigs ...os.Signal) {
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

// saw returns copies of when processes were started and which signals sent.
func (f *fakeSystem) saw() (starts []time.Time, kills []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts), slices.Clone(f.kills)
}

// say speaks as the newest process, and returns its PID.
func (f *fakeSystem) say(text string) (pid int) {
	f.mu.Lock()
	pid = f.nextPID
	said := f.controls[pid]
	f.mu.Unlock()
	if text != "" {
		said <- text
	}
	return pid
}

// inBubble runs a master on a fake system and drives it with test.
func inBubble(t *testing.T, slots int, hangTimeout time.Duration, test func(t *testing.T, m *Master, f *fakeSystem)) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{
			Roles: []Role{{Name: "serve", Slots: slots}}, Command: []string{"/bin/true"},
			Grace: 10 * time.Second, BootTimeout: 3 * time.Second, HangTimeout: hangTimeout, MaxRSS: 1 << 30,
		})
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeSystem{controls: map[int]chan string{}}
		m.sys = f.system()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- m.run(ctx) }() // ends when the slot is stopped
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

func status(t *testing.T, m *Master) SlotStatus {
	t.Helper()
	all, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all.Slots[0]
}

// crash ends processes of the first slot n times, and returns how long it took
// each time until the next one was started.
func crash(f *fakeSystem, pid, n int) (gaps []time.Duration) {
	for range n {
		before, _ := f.saw()
		died := time.Now()
		f.exit(pid)
		for now := before; len(now) == len(before); now, _ = f.saw() {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		gaps = append(gaps, time.Since(died))
		pid = f.say("")
	}
	return gaps
}

// A role of which nothing lives does not wait for the backoff of its slots.
func TestTheLastSlotIsNotLeftWaiting(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, _ *Master, f *fakeSystem) {
		for i, gap := range crash(f, 1, 20) {
			if gap > desperate+2*time.Millisecond || i > 3 && gap < desperate-2*time.Millisecond {
				t.Errorf("death %d: waited %v; want %v at most, and not much less in the end", i, gap, desperate)
			}
		}
	})
}

func TestBackoffGrowsToItsCapAndIsForgotten(t *testing.T) {
	inBubble(t, 2, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage) // the second slot is well
		for i, gap := range crash(f, 1, 20) {
			want := min(100*time.Millisecond<<(max(i, 1)-1), 5*time.Second)
			if i == 0 {
				want = 0
			}
			if gap < want || gap > want+want/10+2*time.Millisecond {
				t.Errorf("death %d: waited %v; want %v", i, gap, want)
			}
		}
		f.say(readyMessage)
		time.Sleep(5*time.Minute + time.Second)
		f.exit(f.say(""))
		began := time.Now()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		starts, _ := f.saw()
		if last := starts[len(starts)-1]; last.Before(began) {
			t.Errorf("a death after five good minutes still waits")
		}
		if s := status(t, m); s.Restarts != 21 || s.Generation != 22 || s.LastExit != "killed by SIGKILL" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestBootTimeout(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		if s := status(t, m); s.State != Booting {
			t.Errorf("state %s; want booting", s.State)
		}
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if s := status(t, m); s.PID != 2 || !strings.HasPrefix(s.LastExit, "not ready within 3s") {
			t.Errorf("status %+v; want a second process", s)
		}
		f.say(readyMessage)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := status(t, m); s.State != Live || s.PID != 2 {
			t.Errorf("status %+v; a ready child has no deadline", s)
		}
	})
}

func TestSpawnFailureBacksOffLikeADeath(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.mu.Lock()
		f.fail = syscall.EAGAIN
		f.mu.Unlock()
		f.exit(1)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if s := status(t, m); s.State != Waiting || !strings.Contains(s.LastExit, "resource temporarily unavailable") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := status(t, m); s.State != Booting || s.PID != 2 {
			t.Errorf("status %+v; want another attempt", s)
		}
	})
}

func TestGraceIsOver(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage)
		f.signals <- syscall.SIGTERM
		synctest.Wait()
		_, kills := f.saw()
		if s := status(t, m); s.State != Leaving || len(kills) != 1 || kills[0] != "terminated" {
			t.Errorf("status %+v, kills %q", s, kills)
		}
		start := time.Now()
		<-m.ended
		_, kills = f.saw()
		if d := time.Since(start); d < 12*time.Second || d > 13*time.Second || !slices.Equal(kills, []string{"terminated", "quit", "killed"}) {
			t.Errorf("ended after %v with %q; want QUIT after the grace time, then KILL", d, kills)
		}
	})
}

func TestStaleReadyIsPassedOver(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		m.messages <- message{&process{slot: m.slots[0], state: Leaving}, readyMessage}
		f.say("nonsense")
		if s := status(t, m); s.State != Booting {
			t.Errorf("state %s; want booting", s.State)
		}
	})
}

// A process without a heartbeat is stalled, then hung: QUIT, KILL, the next.
func TestNoHeartbeat(t *testing.T) {
	inBubble(t, 1, 10*time.Second, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage)
		time.Sleep(silentAfter + idleEvery)
		synctest.Wait()
		if s := status(t, m); s.State != Stalled {
			t.Errorf("after three missed heartbeats: %+v", s)
		}
		// One beat, and it is trusted again.
		m.slots[0].page.lane(1).beat(time.Now())
		time.Sleep(idleEvery)
		synctest.Wait()
		if s := status(t, m); s.State != Live || s.PID != 1 {
			t.Errorf("after a heartbeat: %+v", s)
		}
		time.Sleep(10*time.Second + 2*idleEvery)
		synctest.Wait()
		if s := status(t, m); s.State != Hung || s.PID != 1 {
			t.Errorf("after the hang timeout: %+v", s)
		}
		time.Sleep(lastWords + idleEvery)
		synctest.Wait()
		_, kills := f.saw()
		if s := status(t, m); s.PID != 2 || !strings.HasPrefix(s.LastExit, "hung for 10") || !slices.Equal(kills, []string{"quit", "killed"}) {
			t.Errorf("in the end: %+v, signals %q", s, kills)
		}
	})
}

// A process over -max-rss is replaced, by one at a time, and not in a circle.
func TestMemoryReplacesAProcess(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage)
		f.mu.Lock()
		f.rss = 2 << 30
		f.mu.Unlock()
		time.Sleep(memoryEvery + idleEvery)
		synctest.Wait()
		if s := status(t, m); s.State != Live || s.PID != 1 || s.Generation != 2 {
			t.Errorf("while the successor boots: %+v", s)
		}
		f.mu.Lock()
		f.rss = 1 << 20
		f.mu.Unlock()
		f.say(readyMessage)
		synctest.Wait()
		_, kills := f.saw()
		if s := status(t, m); s.PID != 2 || !slices.Equal(kills, []string{"terminated"}) {
			t.Errorf("behind: %+v, signals %q", s, kills)
		}
		f.exit(1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := status(t, m); s.PID != 2 || s.Generation != 2 || s.Restarts != 0 || !strings.HasPrefix(s.LastExit, "2048 MiB of resident memory") {
			t.Errorf("a minute later: %+v", s)
		}
	})
}

// A successor that never gets ready leaves the old process in its place.
func TestSuccessorThatFails(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage)
		f.mu.Lock()
		f.rss = 2 << 30
		f.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := status(t, m)
		if s.PID != 1 || s.State != Live || s.Restarts != 0 || s.Generation < 3 || !strings.HasPrefix(s.LastExit, "not ready within 3s") {
			t.Errorf("%+v", s)
		}
		f.exit(1)
		synctest.Wait()
		if s := status(t, m); s.PID == 1 || s.Restarts != 1 {
			t.Errorf("the old process died: %+v; want its successor in its place", s)
		}
	})
}

func TestTrialThatHangs(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.say(readyMessage)
		f.signals <- syscall.SIGHUP
		f.signals <- syscall.SIGHUP // waits for the first, and hangs too
		for range 2 {
			time.Sleep(3*time.Second + time.Millisecond)
			synctest.Wait()
		}
		all, err := m.Status(t.Context())
		_, kills := f.saw()
		if err != nil || !strings.Contains(all.ReloadFailed, "not done with its check within 3s") || len(kills) != 2 {
			t.Errorf("%+v, %v, signals %q", all, err, kills)
		}
		if s := all.Slots[0]; s.PID != 1 || s.State != Live {
			t.Errorf("%+v; want nothing changed", s)
		}
	})
}

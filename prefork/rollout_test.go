package prefork

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A process that reaches the memory limit is replaced once.
func TestMemoryLimit(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.mu.Lock()
		f.rss = 2 << 30
		f.mu.Unlock()
		time.Sleep(memoryInterval + idleInterval/2)
		synctest.Wait()
		if s := status(t, m); s.State != StateLive || s.PID != 1 || s.Generation != 2 {
			t.Errorf("while the successor boots: %+v", s)
		}
		f.mu.Lock()
		f.rss = 1 << 20
		f.mu.Unlock()
		f.send(readyMessage)
		synctest.Wait()
		_, kills := f.recorded()
		if s := status(t, m); s.PID != 2 || !slices.Equal(kills, []string{"terminated"}) {
			t.Errorf("afterwards: %+v, signals %q", s, kills)
		}
		f.exit(1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := status(t, m); s.PID != 2 || s.Generation != 2 || s.Restarts != 0 || !strings.HasPrefix(s.LastExit, "memory limit reached: 2048 MiB") {
			t.Errorf("a minute later: %+v", s)
		}
	})
}

// A role may have limits of its own, and the memory of programs counts.
func TestLimitsOfARole(t *testing.T) {
	roles := []Role{{Name: "serve", Slots: 1, MaxRSS: -1}, {Name: "extra", Slots: 1, MaxRSS: 1 << 20, MaxRequests: 1}}
	inBubbleWith(t, roles, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		for pid := range 2 {
			f.controls[pid+1] <- readyMessage
		}
		synctest.Wait()
		m.slots.all[0].current.counters.ProgramMemory.Store(1 << 40)
		m.slots.all[1].current.counters.ProgramMemory.Store(1 << 20)
		time.Sleep(memoryInterval + idleInterval/2)
		synctest.Wait()
		all, err := m.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s := all.Slots; s[0].Generation != 1 || s[0].RSS != 1<<40 || s[1].Generation != 2 || s[1].RSS != 1<<20 {
			t.Errorf("after the memory limit: %+v", s)
		}
		f.send(readyMessage)
		f.exit(2)
		synctest.Wait()
		m.slots.all[1].current.counters.Requests.Store(1)
		time.Sleep(replaceGap + memoryInterval)
		synctest.Wait()
		if s := m.slots.all[1]; s.generation != 3 || !strings.HasPrefix(s.replaceReason, "request limit reached: 1") {
			t.Errorf("after the limit of requests: %+v", s)
		}
	})
}

// If a successor does not become ready, the old process stays.
func TestFailingSuccessor(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.mu.Lock()
		f.rss = 2 << 30
		f.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := status(t, m)
		if s.PID != 1 || s.State != StateLive || s.Restarts != 0 || s.Generation < 3 || !strings.HasPrefix(s.LastExit, "not ready within 3s") {
			t.Errorf("%+v", s)
		}
		f.exit(1)
		synctest.Wait()
		if s := status(t, m); s.PID == 1 || s.Restarts != 1 {
			t.Errorf("after the exit of the old process: %+v; want its successor", s)
		}
	})
}

func TestTrialThatHangs(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.signals <- syscall.SIGHUP
		f.signals <- syscall.SIGHUP // the second reload follows the first, and its trial hangs, too
		for range 2 {
			time.Sleep(3*time.Second + time.Millisecond)
			synctest.Wait()
		}
		all, err := m.Status(t.Context())
		_, kills := f.recorded()
		if err != nil || !strings.Contains(all.ReloadFailed, "has not finished its trial run within 3s") || len(kills) != 2 {
			t.Errorf("%+v, %v, signals %q", all, err, kills)
		}
		if s := all.Slots[0]; s.PID != 1 || s.State != StateLive {
			t.Errorf("%+v; want nothing changed", s)
		}
	})
}

// The master reads no messages from children when it executes the new binary, because
// they would be lost. If execve fails, it reads them again.
func TestFailingExec(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		synctest.Wait()
		f.exec = func() error {
			for pid, messages := range f.controls {
				select {
				case messages <- "lost":
					t.Errorf("the messages of process %d are still read", pid)
				default:
				}
			}
			return syscall.ENOEXEC
		}
		f.signals <- syscall.SIGHUP
		synctest.Wait()
		f.send(readyMessage) // the canary
		synctest.Wait()
		all, err := m.Status(t.Context())
		_, kills := f.recorded()
		if err != nil || !strings.Contains(all.ReloadFailed, "exec format error") || !slices.Equal(kills, []string{"terminated"}) {
			t.Errorf("%+v, %v, signals %q", all, err, kills)
		}
		f.exit(2)
		synctest.Wait()
		if s := status(t, m); s.PID != 1 || s.State != StateLive {
			t.Errorf("%+v; want the old process", s)
		}
		// Messages are read again.
		f.exit(1)
		time.Sleep(time.Second)
		synctest.Wait()
		f.send(readyMessage)
		synctest.Wait()
		if s := status(t, m); s.PID != 3 || s.State != StateLive {
			t.Errorf("%+v; want a new process", s)
		}
	})
}

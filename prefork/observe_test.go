package prefork

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// When the clock is set forward, no process becomes stalled.
func TestClockIsSetForward(t *testing.T) {
	inBubble(t, 2, 10*time.Second, func(t *testing.T, m *Master, f *fakeSystem) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		m.sys.now = now
		f.controls[1] <- readyMessage
		f.controls[2] <- readyMessage
		var heartbeats sync.WaitGroup
		stop := make(chan struct{})
		heartbeats.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					for _, s := range m.slots.all {
						counters, _ := s.page.find(1)
						counters.setHeartbeat(now())
					}
				}
			}
		})
		time.Sleep(5*time.Second + 300*time.Millisecond)
		ahead.Store(int64(time.Minute))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, kills := f.recorded(); len(kills) > 0 {
			t.Errorf("signals %q", kills)
		}
		close(stop)
		heartbeats.Wait()
	})
}

// A successor of the running release that exits during a trial does not fail the reload.
func TestUnexpectedExitDuringATrial(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.mu.Lock()
		f.rss = 2 << 30
		f.mu.Unlock()
		time.Sleep(memoryInterval + idleInterval/2)
		synctest.Wait() // a successor boots, because the first process has reached the memory limit
		f.signals <- syscall.SIGHUP
		synctest.Wait()
		f.exit(2)
		synctest.Wait()
		if all, err := m.Status(t.Context()); err != nil || all.ReloadFailed != "" {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// The server becomes ready when the only slot that is not ready is removed.
func TestReadyAfterARemoval(t *testing.T) {
	inBubble(t, 2, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.controls[1] <- readyMessage
		synctest.Wait()
		f.signals <- syscall.SIGTTOU
		synctest.Wait()
		f.exit(2)
		time.Sleep(time.Minute)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if !strings.Contains(strings.Join(f.notified, "\n"), "READY=1") {
			t.Errorf("systemd was notified of %q", f.notified)
		}
	})
}

// While slots are still booting, a failed reload does not report the server as ready.
func TestFailedReloadBeforeReady(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, _ *Master, f *fakeSystem) {
		f.signals <- syscall.SIGHUP
		synctest.Wait()
		f.exit(trialPID)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if states := strings.Join(f.notified, "\n"); strings.Contains(states, "READY=1") || !strings.Contains(states, "reload failed") {
			t.Errorf("systemd was notified of %q", f.notified)
		}
	})
}

// If the current process exits, its canary becomes the current process. If the canary
// exits, too, the reload fails.
func TestExitOfACanaryThatBecameCurrent(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		synctest.Wait()
		f.mu.Lock()
		f.exec = func() error { return syscall.ENOEXEC }
		f.mu.Unlock()
		f.signals <- syscall.SIGHUP
		synctest.Wait()
		f.exit(1)
		synctest.Wait()
		f.exit(2) // the canary
		synctest.Wait()
		if all, err := m.Status(t.Context()); err != nil || !strings.Contains(all.ReloadFailed, "serve.0 of the new release: killed by SIGKILL") {
			t.Errorf("%+v, %v", all, err)
		}
		// The next reload does not wait for that canary.
		f.signals <- syscall.SIGHUP
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if all, err := m.Status(t.Context()); err != nil || all.Slots[0].Generation < 3 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestTrialOfAMissingBinary(t *testing.T) {
	if trial, err := startTrial(trialCommand{program: "/nowhere", args: []string{"x"}}); err == nil {
		t.Errorf("%+v; want an error", trial)
	}
}

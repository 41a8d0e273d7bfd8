package prefork

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func status(t *testing.T, m *Master) SlotStatus {
	t.Helper()
	all, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all.Slots[0]
}

// crash makes the newest process exit, n times. pid is the first one. It returns the time
// between each exit and the next start.
func crash(f *fakeSystem, pid, n int) (gaps []time.Duration) {
	for range n {
		before, _ := f.recorded()
		exited := time.Now()
		f.exit(pid)
		for now := before; len(now) == len(before); now, _ = f.recorded() {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		gaps = append(gaps, time.Since(exited))
		pid = f.send("")
	}
	return gaps
}

// The backoff of a role that has no other process is limited.
func TestBackoffOfARoleWithoutProcesses(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, _ *Master, f *fakeSystem) {
		for i, gap := range crash(f, 1, 20) {
			if gap > maxRoleOutage+2*time.Millisecond || i > 3 && gap < maxRoleOutage-2*time.Millisecond {
				t.Errorf("exit %d: delay %v; want at most %v, and not much less after some exits", i, gap, maxRoleOutage)
			}
		}
	})
}

// The server is ready without the processes of an optional role, and their backoff is not
// limited.
func TestOptionalRole(t *testing.T) {
	roles := []Role{{Name: "serve", Slots: 1}, {Name: "extra", Slots: 1, Optional: true}}
	inBubbleWith(t, roles, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.mu.Lock()
		first := f.controls[1]
		f.mu.Unlock()
		first <- readyMessage
		synctest.Wait()
		if !slices.ContainsFunc(f.notified, func(text string) bool { return strings.HasPrefix(text, "READY=1") }) {
			t.Errorf("not ready without the optional role: %q", f.notified)
		}
		for i, gap := range crash(f, 2, 10) {
			if want := min(100*time.Millisecond<<(max(i, 1)-1), 5*time.Second); i > 0 && gap < want {
				t.Errorf("exit %d: delay %v; want %v", i, gap, want)
			}
		}
		if s := status(t, m); s.PID != 1 || s.Restarts != 0 {
			t.Errorf("the other role: %+v", s)
		}
	})
}

func TestBackoffDoublesUpToMax(t *testing.T) {
	inBubble(t, 2, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage) // the second slot is live
		for i, gap := range crash(f, 1, 20) {
			want := min(100*time.Millisecond<<(max(i, 1)-1), 5*time.Second)
			if i == 0 {
				want = 0
			}
			if gap < want || gap > want+want/10+2*time.Millisecond {
				t.Errorf("exit %d: delay %v; want %v", i, gap, want)
			}
		}
		f.send(readyMessage)
		time.Sleep(5*time.Minute + time.Second)
		f.exit(f.send(""))
		began := time.Now()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		starts, _ := f.recorded()
		if last := starts[len(starts)-1]; last.Before(began) {
			t.Errorf("an exit after five minutes without another one was delayed")
		}
		if s := status(t, m); s.Restarts != 21 || s.Generation != 22 || s.LastExit != "killed by SIGKILL" {
			t.Errorf("status %+v", s)
		}
	})
}

// The log says what to do about an unexpected exit.
func TestExitAdvice(t *testing.T) {
	killed := exitAdvice(describeExit(syscall.WaitStatus(syscall.SIGKILL)))
	if !strings.Contains(killed, "dmesg") {
		t.Errorf("after SIGKILL: %q; want the log of the kernel", killed)
	}
	for _, why := range []string{"exit status 2", "not ready within 3s (killed by SIGKILL)"} {
		if advice := exitAdvice(why); advice == killed || !strings.Contains(advice, "output of the child") {
			t.Errorf("%s: %q; want the output of the child", why, advice)
		}
	}
}

func TestBootTimeout(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		if s := status(t, m); s.State != StateBooting {
			t.Errorf("state %s; want booting", s.State)
		}
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if s := status(t, m); s.PID != 2 || !strings.HasPrefix(s.LastExit, "not ready within 3s") {
			t.Errorf("status %+v; want a second process", s)
		}
		f.send(readyMessage)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := status(t, m); s.State != StateLive || s.PID != 2 {
			t.Errorf("status %+v; a ready child has no deadline", s)
		}
	})
}

func TestFailedStartIsTriedAgain(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.mu.Lock()
		f.fail = syscall.EAGAIN
		f.mu.Unlock()
		f.exit(1)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if s := status(t, m); s.State != StateBackoff || !strings.Contains(s.LastExit, "resource temporarily unavailable") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := status(t, m); s.State != StateBooting || s.PID != 2 {
			t.Errorf("status %+v; want another attempt", s)
		}
	})
}

func TestGraceTimeout(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.signals <- syscall.SIGTERM
		synctest.Wait()
		_, kills := f.recorded()
		if s := status(t, m); s.State != StateLeaving || len(kills) != 1 || kills[0] != "terminated" {
			t.Errorf("status %+v, kills %q", s, kills)
		}
		start := time.Now()
		<-m.ended
		_, kills = f.recorded()
		if d := time.Since(start); d < 12*time.Second || d > 13*time.Second || !slices.Equal(kills, []string{"terminated", "quit", "killed"}) {
			t.Errorf("ended after %v with %q; want QUIT after the grace time, then KILL", d, kills)
		}
	})
}

// A context that ends while the children drain does not shorten the grace time.
func TestContextEndsAfterSignal(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		f.signals <- syscall.SIGTERM
		synctest.Wait()
		f.cancel()
		synctest.Wait()
		if _, kills := f.recorded(); !slices.Equal(kills, []string{"terminated"}) {
			t.Errorf("the process got %q, want only SIGTERM", kills)
		}
	})
}

func TestReadyFromALeavingProcessIsIgnored(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		m.supervisor.messages <- message{&process{slot: m.slots.all[0], state: StateLeaving}, readyMessage}
		f.send("nonsense")
		if s := status(t, m); s.State != StateBooting {
			t.Errorf("state %s; want booting", s.State)
		}
	})
}

// A process without a heartbeat is stalled, then hung. It gets SIGQUIT and SIGKILL, and
// another process is started.
func TestMissingHeartbeat(t *testing.T) {
	inBubble(t, 1, 10*time.Second, func(t *testing.T, m *Master, f *fakeSystem) {
		f.send(readyMessage)
		time.Sleep(heartbeatTimeout + idleInterval)
		synctest.Wait()
		if s := status(t, m); s.State != StateStalled {
			t.Errorf("after a while without a heartbeat: %+v", s)
		}
		// It recovers with one heartbeat.
		counters, _ := m.slots.all[0].page.find(1)
		counters.setHeartbeat(time.Now())
		time.Sleep(idleInterval)
		synctest.Wait()
		if s := status(t, m); s.State != StateLive || s.PID != 1 {
			t.Errorf("after a heartbeat: %+v", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if o, err := m.Stats(t.Context()); err != nil || o.Slots[0].Hangs != 1 {
			t.Errorf("%+v, %v; want one hang", o, err)
		}
		if s := status(t, m); s.State != StateHung || s.PID != 1 {
			t.Errorf("after the hang timeout: %+v", s)
		}
		time.Sleep(dumpTimeout)
		synctest.Wait()
		_, kills := f.recorded()
		if s := status(t, m); s.PID != 2 || !strings.HasPrefix(s.LastExit, "hung for 10") || !slices.Equal(kills, []string{"quit", "killed"}) {
			t.Errorf("in the end: %+v, signals %q", s, kills)
		}
	})
}

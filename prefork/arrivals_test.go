package prefork

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// A connection ends the long interval of an idle master: a child that does not accept it
// is stalled after acceptTimeout.
func TestArrivalWakesIdleMaster(t *testing.T) {
	inBubble(t, 1, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.arrived = make(chan struct{}, 1)
		f.send(readyMessage)
		listen := func(descriptor int) {
			err := m.call(t.Context(), func() { m.sockets.group, m.slots.all[0].listener = m.slots.all, descriptor })
			if err != nil {
				t.Fatal(err)
			}
		}
		listen(1 << 20) // not a real descriptor: the fake system does not use it
		defer listen(-1)
		time.Sleep(idleAfter + 2*idleInterval + time.Millisecond)
		synctest.Wait()
		if m.arrivals.arrived == nil {
			t.Fatal("the idle master does not wait for connections")
		}
		f.mu.Lock()
		f.queued = 1
		f.mu.Unlock()
		f.arrived <- struct{}{}
		time.Sleep(acceptTimeout + 2*checkInterval)
		synctest.Wait()
		if s := status(t, m); s.State != StateStalled {
			t.Errorf("state %s; want stalled", s.State)
		}
		if m.arrivals.arrived != nil {
			t.Error("the master waits for connections, although it is not idle")
		}
	})
}

func TestAwaitConnection(t *testing.T) {
	fds, addr, err := listenGroup("127.0.0.1:0", 2)
	defer closeAll(fds)
	if err != nil {
		t.Fatal(err)
	}
	arrived, stop, err := awaitConnection(fds)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
		t.Fatal("reported a connection before there was one")
	default:
	}
	client, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	select {
	case <-arrived:
	case <-time.After(testutil.Patience):
		t.Fatal("the connection is not reported")
	}
	stop()

	// A connection that waits already is reported too.
	arrived, stop, err = awaitConnection(fds)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	select {
	case <-arrived:
	case <-time.After(testutil.Patience):
		t.Fatal("the waiting connection is not reported")
	}
	if _, _, err := awaitConnection([]int{-1}); err == nil {
		t.Error("no error for a descriptor that is not open")
	}
}

package processes_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The connections in the accept queue of a killed child get responses from the next
// process of its slot. Only the requests that the child was serving are lost.
func TestKilledChildUnderLoad(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	addr := strings.TrimPrefix(g.URL, "http://")
	const clients, kills = 32, 6
	var responses, lost, refused atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range clients {
		load.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := exchange(addr); {
				case err == nil:
					responses.Add(1)
				case strings.HasPrefix(err.Error(), "connect: "):
					refused.Add(1)
				default:
					lost.Add(1)
				}
			}
		})
	}
	for i := range kills {
		slot := fmt.Sprintf("serve.%d", i%2)
		before := responses.Load()
		victim := g.Slots(t)[slot]
		_ = syscall.Kill(victim.PID, syscall.SIGKILL)
		testutil.Eventually(t, slot+" has a new process", func() bool {
			s := g.Slots(t)[slot]
			return s.PID != victim.PID && s.State == "live" && responses.Load() > before
		})
	}
	close(stop)
	load.Wait()
	t.Logf("%d responses, %d requests lost, %d connections refused, %d kills", responses.Load(), lost.Load(), refused.Load(), kills)
	// A child has accepted at most one connection of each client.
	if refused.Load() != 0 || lost.Load() > kills*clients || responses.Load() < kills*clients {
		t.Errorf("%d responses, %d lost, %d refused", responses.Load(), lost.Load(), refused.Load())
	}
}

// exchange sends GET / on its own connection and checks the response.
func exchange(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := io.ReadAll(conn)
	if err == nil && !bytes.HasSuffix(response, []byte("Hello, friendly user!")) {
		err = fmt.Errorf("response %q", response)
	}
	return err
}

// Every serve child accepts connections.
func TestEveryChildAccepts(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "3", "-workers", "2")
	slots := g.Slots(t)
	if len(slots) != 6 { // store.0 is the sixth
		t.Fatalf("slots: %v", slots)
	}
	for slot, s := range slots {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID))
		if err != nil || strings.TrimRight(string(cmdline), "\x00") != "server: "+slot {
			t.Errorf("the command line of %s is %q, %v", slot, cmdline, err)
		}
	}
	// The connections stay open, so that those of each slot can be counted. More are
	// opened until every slot has one: on a busy machine a slot that misses its
	// heartbeat gets none for a while.
	addr := strings.TrimPrefix(g.URL, "http://")
	var status struct {
		Slots []struct {
			Role        string
			Connections int
		}
	}
	held := 0
	testutil.Eventually(t, "every child has accepted connections, and all are counted", func() bool {
		harness.GetJSON(t, "http://"+g.Admin+"/status", &status)
		sum, least := 0, held
		for _, s := range status.Slots {
			if s.Role == "serve" {
				sum, least = sum+s.Connections, min(least, s.Connections)
			}
		}
		if least > 0 {
			return sum == held
		}
		for range 3 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			held++
		}
		return false
	})
}

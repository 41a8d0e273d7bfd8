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

// Connections that a killed child has not accepted are answered by its
// successor: nothing is lost but what the child was answering.
func TestKilledChildUnderLoad(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	addr := strings.TrimPrefix(g.URL, "http://")
	const clients, kills = 32, 6
	var answered, lost, refused atomic.Int64
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
					answered.Add(1)
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
		before := answered.Load()
		victim := g.Slots(t)[slot]
		_ = syscall.Kill(victim.PID, syscall.SIGKILL)
		testutil.Eventually(t, "a successor of "+slot, func() bool {
			s := g.Slots(t)[slot]
			return s.PID != victim.PID && s.State == "live" && answered.Load() > before
		})
	}
	close(stop)
	load.Wait()
	t.Logf("%d answered, %d lost in flight, %d refused, %d kills", answered.Load(), lost.Load(), refused.Load(), kills)
	// A child can have accepted no more than all the clients have open.
	if refused.Load() != 0 || lost.Load() > kills*clients || answered.Load() < kills*clients {
		t.Errorf("answered %d, lost %d, refused %d", answered.Load(), lost.Load(), refused.Load())
	}
}

// exchange asks for the page on a connection of its own.
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
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasSuffix(answer, []byte("Hello, friendly user!")) {
		err = fmt.Errorf("answer %q", answer)
	}
	return err
}

// Every child answers, whatever their number.
func TestEveryChildAnswers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "3", "-workers", "2")
	slots := g.Slots(t)
	if len(slots) != 6 { // the store slot too
		t.Fatalf("slots: %v", slots)
	}
	for slot, s := range slots {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID))
		if err != nil || strings.TrimRight(string(cmdline), "\x00") != "server: "+slot {
			t.Errorf("%s is shown as %q, %v", slot, cmdline, err)
		}
	}
	// A slot that holds connections open is one that has accepted some. One that a
	// busy machine has kept from its heartbeat gets none for a while, so more come.
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

package processes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// dialAll opens n connections, 64 at a time.
func dialAll(t *testing.T, g *harness.Server, n int) []net.Conn {
	t.Helper()
	_, addr, _ := strings.Cut(g.URL, "://")
	conns := make([]net.Conn, n)
	var dialing sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		dialing.Go(func() { // ends when all are open
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				nc, err := net.DialTimeout("tcp", addr, time.Minute)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = nc
			}
		})
	}
	dialing.Wait()
	t.Cleanup(func() {
		for _, nc := range conns {
			if nc != nil {
				nc.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// requestOn sends a request on a connection and reads the response.
func requestOn(nc net.Conn, target string) (*http.Response, string, error) {
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 512), nil)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// Ten thousand requests wait in one child, and GET / gets responses meanwhile.
func TestTenThousandDelays(t *testing.T) {
	n := 10_000
	if harness.RaceEnabled {
		n = 1000 // the race detector allows 8128 goroutines
	}
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	conns := dialAll(t, g, n)
	var slowest, slowestOther atomic.Int64
	longer := func(of *atomic.Int64, took time.Duration) {
		for old := of.Load(); int64(took) > old && !of.CompareAndSwap(old, int64(took)); old = of.Load() {
		}
	}
	var waiting, others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() { // ends with the others
		nc := dialAll(t, g, 1)[0]
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			began := time.Now()
			if _, body, err := requestOn(nc, "/"); err != nil || body != "Hello, friendly user!" {
				t.Errorf("/: %q, %v", body, err)
				return
			}
			longer(&slowestOther, time.Since(began))
		}
	})
	for _, nc := range conns {
		waiting.Go(func() { // ends with its response
			began := time.Now()
			if _, body, err := requestOn(nc, "/delay?s=1"); err != nil || body != "Hello, world!" {
				t.Errorf("%q, %v", body, err)
			}
			longer(&slowest, time.Since(began))
		})
	}
	waiting.Wait()
	close(done)
	others.Wait()
	rss := float64(harness.PeakMemory(t, g.Slots(t)["serve.0"].PID)) / (1 << 20)
	t.Logf("%d at once: the slowest /delay?s=1 took %v, the slowest / meanwhile %v; peak memory %.0f MiB",
		n, time.Duration(slowest.Load()), time.Duration(slowestOther.Load()), rss)
}

// The pool runs 20 requests and queues 200. The next one gets 503 at once. When a
// client disconnects, its place in the pool or in the queue is free.
func TestSleepIsBounded(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-pool", "20", "-pool-queue", "200", "-grace", "1s")
	const target = "/sleep?steps=60&s=1"
	send := func(conns []net.Conn) {
		for _, nc := range conns {
			fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target)
		}
	}
	steps := func() int { return strings.Count(g.Log.String(), `msg="step 1"`) }
	running := dialAll(t, g, 20)
	send(running)
	testutil.Eventually(t, "20 requests run", func() bool { return steps() == 20 })
	// Of 201 more requests 200 are queued. The last to arrive gets a response.
	queued := dialAll(t, g, 201)
	began := time.Now()
	send(queued)
	responses := make(chan int, len(queued))
	for i, nc := range queued {
		go func() { // ends with the connection
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				return
			}
			if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), "too busy, try again") || err != nil {
				t.Errorf("%d %v %q, %v", resp.StatusCode, resp.Header, body, err)
			}
			responses <- i
		}()
	}
	last := <-responses
	refused := time.Since(began)
	began = time.Now()
	if code, body, err := harness.Get(g.URL + "/"); code != 200 {
		t.Errorf("/: %d %q %v", code, body, err)
	}
	t.Logf("503 after %v; GET / took %v meanwhile", refused, time.Since(began))
	if steps() != 20 {
		t.Errorf("%d requests run at once", steps())
	}
	// A client in the queue disconnects: one more request is queued, and the next
	// gets 503. A client whose request runs disconnects: the first of the queue runs.
	queued[(last+100)%201].Close()
	testutil.Eventually(t, "the place in the queue is free", func() bool {
		nc := dialAll(t, g, 1)[0]
		send([]net.Conn{nc})
		_ = nc.SetDeadline(time.Now().Add(time.Second))
		_, err := nc.Read(make([]byte, 1))
		return err != nil // no response: the request is queued
	})
	if len(responses) != 0 {
		t.Errorf("%d queued requests got responses", len(responses))
	}
	if code, _, err := harness.Get(g.URL + target); code != 503 {
		t.Errorf("with a full queue: %d, %v", code, err)
	}
	running[0].Close()
	testutil.Eventually(t, "a queued request runs", func() bool { return steps() == 21 })
}

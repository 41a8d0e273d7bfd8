package processes_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const (
	granted = "Request processed successfully."
	refused = "Too many requests. Please try again later."
)

// page sends GET on its own connection, so any child may get it.
func page(url string, header ...string) (*http.Response, string, error) {
	_, rest, _ := strings.Cut(url, "://")
	addr, path, _ := strings.Cut(rest, "/")
	nc, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return nil, "", err
	}
	defer nc.Close()
	var fields strings.Builder
	for i := 0; i < len(header); i += 2 {
		fields.WriteString("\r\n" + header[i] + ": " + header[i+1])
	}
	return requestOn(nc, "/"+path+" HTTP/1.1"+fields.String()+"\r\nX-Ignored: ")
}

// requestAll sends n requests at once and counts the responses by their bodies.
func requestAll(t *testing.T, n int, url string, header func(int) []string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { // ends with its response
			_, body, err := page(url, header(i)...)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			counts[body]++
		})
	}
	all.Wait()
	return counts
}

func noHeader(int) []string { return nil }

// from returns a header field with another address of a network for each request.
func from(header, network string) func(int) []string {
	return func(i int) []string { return []string{header, fmt.Sprintf("%s.%d", network, i+1)} }
}

// windows returns the number of requests of one client that may have been granted
// since began: one every two seconds.
func windows(began time.Time) int { return 1 + int(time.Since(began)/(2*time.Second)) }

func TestLimited(t *testing.T) {
	t.Parallel()
	harness.OnStateServers(t, func(t *testing.T, flags []string) {
		g := harness.Start(t, t.TempDir(), append(flags, "-procs", "4", "-workers", "0")...)
		began := time.Now()
		got := requestAll(t, 100, g.URL+"/limited", noHeader)
		if most := windows(began); got[granted] < 1 || got[granted] > most || got[granted]+got[refused] != 100 {
			t.Errorf("from one address: %v, want at most %d", got, most)
		}
		for header, network := range map[string]string{"X-Forwarded-For": "192.0.2", "X-Real-IP": "198.51.100"} {
			if got := requestAll(t, 100, g.URL+"/limited", from(header, network)); got[granted] != 100 {
				t.Errorf("from 100 addresses, named by a trusted proxy in %s: %v", header, got)
			}
		}
		twice := 0 // if two requests take two seconds, both are granted
		testutil.Eventually(t, "one of two requests is refused", func() bool {
			twice++
			client := fmt.Sprint("203.0.113.", twice)
			resp, body, err := page(g.URL+"/limited", "X-Real-IP", client)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit-Policy") != `"client";q=1;w=2` || resp.Header.Get("RateLimit") != `"client";r=0;t=2` {
				t.Fatalf("%v %q, %v", resp, body, err)
			}
			resp, body, err = page(g.URL+"/limited", "X-Real-IP", client)
			if err == nil && resp.StatusCode == http.StatusOK {
				return false
			}
			if after := resp.Header.Get("Retry-After"); err != nil || resp.StatusCode != http.StatusTooManyRequests || body != refused || after != "1" && after != "2" || resp.Header.Get("RateLimit") != `"client";r=0;t=`+after {
				t.Fatalf("%v %q, %v", resp, body, err)
			}
			return true
		})

		distrusting := harness.Start(t, t.TempDir(), append(flags, "-procs", "4", "-workers", "0", "-trusted-proxies", "192.0.2.0/24")...)
		testutil.Eventually(t, "the two seconds are over", func() bool {
			_, body, err := page(distrusting.URL + "/limited")
			return err == nil && body == granted
		})
		began = time.Now()
		if got := requestAll(t, 100, distrusting.URL+"/limited", from("X-Forwarded-For", "192.0.2")); got[granted] > windows(began) {
			t.Errorf("the same field from a proxy that is not trusted: %v, want at most %d", got, windows(began))
		}
	})
}

func TestCached(t *testing.T) {
	t.Parallel()
	harness.OnStateServers(t, func(t *testing.T, flags []string) {
		g := harness.Start(t, t.TempDir(), append(flags, "-procs", "2", "-workers", "0")...)
		const fresh, cached = "New response: Expensive operation result", "Cached response: Expensive operation result"
		// The value may expire once every ten seconds.
		began := time.Now()
		got := requestAll(t, 1000, g.URL+"/cached", noHeader)
		if most := 1 + int(time.Since(began)/(10*time.Second)); got[fresh] < 1 || got[fresh] > most || got[fresh]+got[cached] != 1000 {
			t.Errorf("%v", got)
		}
		testutil.Eventually(t, "the value expires", func() bool {
			_, body, err := page(g.URL + "/cached")
			return err == nil && body == fresh
		})
	})
}

// While the embedded state server is killed no request fails. The next process
// listens at the same address, and limits apply again.
func TestStateServerKilled(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	limits := func() bool {
		got := requestAll(t, 20, g.URL+"/limited", noHeader)
		if got[granted]+got[refused] != 20 {
			t.Fatalf("%v", got)
		}
		return got[refused] > 0
	}
	testutil.Eventually(t, "the limit applies", limits)
	for range 2 {
		victim := g.Slots(t)["store.0"]
		_ = syscall.Kill(victim.PID, syscall.SIGSTOP) // connections stay open without responses
		_ = syscall.Kill(victim.PID, syscall.SIGKILL)
		for range 20 {
			for _, path := range []string{"/limited", "/cached"} {
				if resp, body, err := page(g.URL + path); err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusTooManyRequests {
					t.Fatalf("%s: %v %q, %v", path, resp, body, err)
				}
			}
		}
		testutil.Eventually(t, "store.0 has a new process", func() bool {
			s := g.Slots(t)["store.0"]
			return s.PID != victim.PID && s.State == "live"
		})
		testutil.Eventually(t, "the limit applies again", limits)
	}
	testutil.Eventually(t, "the log has the outage and its end", func() bool {
		log := g.Log.String()
		return strings.Contains(log, "redis responds again") && strings.Contains(log, "redis does not respond, continuing without it")
	})
}

// While Redis is killed nothing is limited or cached, and no request fails.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-redis", redis.URL())
	if slots := g.Slots(t); len(slots) != 2 {
		t.Errorf("with -redis there is an embedded state server: %v", slots)
	}
	redis.Kill()
	if got := requestAll(t, 50, g.URL+"/limited", noHeader); got[granted] != 50 {
		t.Errorf("without Redis: %v", got)
	}
	if _, body, err := page(g.URL + "/cached"); err != nil || body != "New response: Expensive operation result" {
		t.Errorf("without Redis: %q, %v", body, err)
	}
	redis.Restart(t)
	testutil.Eventually(t, "the limit applies again", func() bool { return requestAll(t, 20, g.URL+"/limited", noHeader)[refused] > 0 })
}

// A reload keeps the process of the embedded state server and its data.
func TestReloadKeepsState(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	before := g.Slots(t)
	if _, body, err := page(g.URL + "/cached"); err != nil || !strings.HasPrefix(body, "New ") {
		t.Fatalf("%q, %v", body, err)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	testutil.Eventually(t, "the serve children are replaced", func() bool { return g.ServeSlotsReplaced(t, before) })
	if after := g.Slots(t)["store.0"]; after.PID != before["store.0"].PID {
		t.Errorf("store.0 was replaced: %+v", after)
	}
	for range 10 {
		if _, body, err := page(g.URL + "/cached"); err != nil || !strings.HasPrefix(body, "Cached ") && time.Since(began) < 9*time.Second {
			t.Errorf("%q, %v", body, err)
		}
	}
}

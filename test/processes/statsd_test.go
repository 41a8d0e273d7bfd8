package processes_test

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// daemon is a statsd daemon that adds up counters and keeps the last value of gauges.
type daemon struct {
	address string
	mu      sync.Mutex
	values  map[string]float64
	bad     []string // lines and datagrams that are not valid
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{address: conn.LocalAddr().String(), values: map[string]float64{}}
	var reading sync.WaitGroup
	reading.Go(func() { // ends when conn is closed
		buf := make([]byte, 64<<10)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.add(string(buf[:n]))
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return d
}

func (d *daemon) add(datagram string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(datagram) > 1432 {
		d.bad = append(d.bad, datagram)
	}
	for line := range strings.SplitSeq(datagram, "\n") {
		name, rest, _ := strings.Cut(line, ":")
		text, kind, _ := strings.Cut(rest, "|")
		kind, tags, tagged := strings.Cut(kind, "|#")
		value, err := strconv.ParseFloat(text, 64)
		if tagged {
			name += "#" + tags
		}
		switch {
		case err != nil || !strings.HasPrefix(name, "gale.") && !strings.HasPrefix(name, "web1."):
			d.bad = append(d.bad, line)
		case kind == "g":
			d.values[name] = value
		case kind == "c" && value > 0:
			d.values[name] += value
		default:
			d.bad = append(d.bad, line)
		}
	}
}

func (d *daemon) value(name string) (float64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	value, ok := d.values[name]
	return value, ok
}

// Every process's counters reach a statsd daemon. With -single the last of them are sent
// when the server stops, so that the test need not wait for the interval.
func TestStatsd(t *testing.T) {
	t.Parallel()
	for query, names := range map[string][]string{
		"?prefix=web1":  {"web1.http_requests_total.200.GET.serve_0", "web1.http_request_duration_seconds.count.serve_0", "web1.slot_state.worker_0.stopped"},
		"?tags=datadog": {"gale.http_requests_total#code:200,method:GET,slot:serve.0", "gale.http_request_duration_seconds.count#slot:serve.0", "gale.slot_state#slot:worker.0,state:stopped"},
	} {
		d := startDaemon(t)
		g := harness.Start(t, t.TempDir(), "-single", "-statsd", d.address+query)
		for range 7 {
			if code, _, err := harness.Get(g.URL + "/"); code != 200 || err != nil {
				t.Fatal(code, err)
			}
		}
		if m := g.Metrics(t); m["gale_statsd_up"] == nil {
			t.Error("no metric gale_statsd_up")
		}
		if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{7, 7, 1} {
			testutil.Eventually(t, names[i]+" arrives", func() bool { _, ok := d.value(names[i]); return ok })
			if got, _ := d.value(names[i]); got != want {
				t.Errorf("%s is %v, want %v", names[i], got, want)
			}
		}
		if d.mu.Lock(); len(d.bad) > 0 {
			t.Errorf("not valid: %q", d.bad)
		}
		d.mu.Unlock()
	}
}

// A daemon that cannot be reached holds nothing up, and nonsense is a fault.
func TestStatsdIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := harness.Outcome(t, dir, "check", "-statsd", "localhost")
	if code != 2 || !strings.Contains(errs, "-statsd: ") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-statsd", "host.invalid:8125", "-admin", "")
	if code, _, err := harness.Get(g.URL + "/"); code != 200 || err != nil {
		t.Error(code, err)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

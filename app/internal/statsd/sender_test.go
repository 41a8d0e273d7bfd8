package statsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/internal/testutil"
)

// daemon is a statsd daemon that keeps the datagrams it gets.
type daemon struct {
	net.Conn
	datagrams []string
	err       error // error of Write
	failAfter int   // number of datagrams before err
}

func (d *daemon) Write(p []byte) (int, error) {
	if d.err != nil && len(d.datagrams) >= d.failAfter {
		return 0, d.err
	}
	d.datagrams = append(d.datagrams, string(p))
	return len(p), nil
}
func (*daemon) Close() error                { return nil }
func (*daemon) SetDeadline(time.Time) error { return nil }

// take returns the lines that the daemon got since the last call.
func (d *daemon) take() (lines []string) {
	for _, datagram := range d.datagrams {
		lines = append(lines, strings.Split(datagram, "\n")...)
	}
	d.datagrams = nil
	slices.Sort(lines)
	return lines
}

type fixture struct {
	*Sender
	daemon   *daemon
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	failure  error // of gathering
}

func newFixture(t *testing.T, target string, o Options) *fixture {
	t.Helper()
	parsed, err := Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{daemon: &daemon{}, registry: prometheus.NewRegistry()}
	f.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gale_http_requests_total"}, []string{"slot", "method", "code"})
	f.registry.MustRegister(f.requests)
	f.Sender = New(parsed, func(context.Context) ([]*dto.MetricFamily, error) {
		if f.failure != nil {
			return nil, f.failure
		}
		return f.registry.Gather()
	}, o)
	f.dial = func(context.Context) (net.Conn, error) { return f.daemon, nil }
	return f
}

func (f *fixture) expect(t *testing.T, want ...string) {
	t.Helper()
	if err := f.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.daemon.take(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestCountersAreSentAsDifferences(t *testing.T) {
	f := newFixture(t, "h:1", Options{})
	f.expect(t)
	f.requests.WithLabelValues("serve.0", "GET", "200").Add(5)
	f.requests.WithLabelValues("serve.1", "GET", "").Add(0.25)
	f.expect(t, "gale.http_requests_total.200.GET.serve_0:5|c", "gale.http_requests_total._.GET.serve_1:0.25|c")
	f.expect(t)
	f.requests.WithLabelValues("serve.0", "GET", "200").Add(1e6)
	f.expect(t, "gale.http_requests_total.200.GET.serve_0:1000000|c")
}

// A value that is smaller for a while, as when the report of a child cannot be read, is
// neither sent as a negative number nor sent twice.
func TestCountersNeverDecrease(t *testing.T) {
	f := newFixture(t, "h:1", Options{})
	value := 0.0
	f.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "n_total"}, func() float64 { return value }))
	value = 10
	f.expect(t, "gale.n_total:10|c")
	value = 4
	f.expect(t)
	value = 12
	f.expect(t, "gale.n_total:2|c")
}

// After a reload, the process that has sent the counters before goes on with another Sender.
func TestNothingIsSentTwiceAfterAReload(t *testing.T) {
	f := newFixture(t, "h:1", Options{Resumed: true})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "s", Buckets: []float64{1}})
	f.registry.MustRegister(seconds)
	f.requests.WithLabelValues("serve.0", "GET", "200").Add(5)
	seconds.Observe(0.5)
	f.failure = errors.New("no response")
	if err := f.send(t.Context()); !errors.Is(err, f.failure) {
		t.Fatal(err)
	}
	f.failure = nil
	f.expect(t)
	f.requests.WithLabelValues("serve.0", "GET", "200").Inc()
	f.expect(t, "gale.http_requests_total.200.GET.serve_0:1|c")
}

func TestTagsAndNames(t *testing.T) {
	for target, want := range map[string][]string{
		"h:1?tags=datadog": {
			"gale.http_requests_total:1|c|#code:200,method:GE_T_,slot:a.b/c:d_", "gale.negative:-1|g", "gale.plain:3|g",
		},
		"h:1?prefix=web.1": {
			"web.1.http_requests_total.200.GE_T_.a_b_c_d_:1|c", "web.1.negative:-1|g", "web.1.negative:0|g", "web.1.plain:3|g",
		},
	} {
		f := newFixture(t, target, Options{})
		f.requests.WithLabelValues("a.b/c:d|", "GE,T\n", "200").Inc()
		for name, value := range map[string]float64{"gale_negative": -1, "plain": 3} {
			f.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name}, func() float64 { return value }))
		}
		f.expect(t, want...)
	}
}

func TestHistogramsAreCountSumAndQuantiles(t *testing.T) {
	f := newFixture(t, "h:1", Options{})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gale_s", Buckets: []float64{1, 2, 4}}, []string{"slot"})
	f.registry.MustRegister(seconds)
	for range 100 {
		seconds.WithLabelValues("a").Observe(0.5)
	}
	f.expect(t, "gale.s.count.a:100|c", "gale.s.p50.a:0.5|g", "gale.s.p95.a:0.95|g", "gale.s.p99.a:0.99|g", "gale.s.sum.a:50|c")
	for range 50 { // only these count for the next quantiles
		seconds.WithLabelValues("a").Observe(3)
		seconds.WithLabelValues("a").Observe(9)
	}
	f.expect(t, "gale.s.count.a:100|c", "gale.s.p50.a:4|g", "gale.s.p95.a:4|g", "gale.s.p99.a:4|g", "gale.s.sum.a:600|c")
	f.expect(t)
}

// Datagrams have at most 1432 bytes, also with long names, and lines are never split.
func TestDatagramsAreSmall(t *testing.T) {
	f := newFixture(t, "h:1", Options{})
	for i := range 300 {
		f.requests.WithLabelValues(fmt.Sprintf("%04d", i), strings.Repeat("x", i%80), "200").Inc()
	}
	f.requests.WithLabelValues("", strings.Repeat("y", maxDatagram), "200").Inc()
	if err := f.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range f.daemon.datagrams {
		if len(d) > maxDatagram {
			t.Errorf("a datagram has %d bytes", len(d))
		}
	}
	if n := len(f.daemon.datagrams); n > 30 {
		t.Errorf("%d datagrams", n)
	}
	if got := f.daemon.take(); len(got) != 300 || !strings.HasSuffix(got[0], ":1|c") {
		t.Errorf("%d lines: %q", len(got), got[0])
	}
}

// What a failed transmission has not sent is sent later, and the rest is not repeated.
func TestAFailureLosesNoCounts(t *testing.T) {
	f := newFixture(t, "h:1", Options{})
	for i := range 100 {
		f.requests.WithLabelValues(fmt.Sprint(i), "GET", "200").Inc()
	}
	f.daemon.err, f.daemon.failAfter = errors.New("refused"), 1
	if err := f.send(t.Context()); !errors.Is(err, f.daemon.err) {
		t.Fatal(err)
	}
	first := f.daemon.take()
	f.daemon.err = nil
	if err := f.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := append(first, f.daemon.take()...)
	slices.Sort(all)
	if n := len(slices.Compact(all)); len(first) == 0 || len(first) == 100 || n != 100 || len(all) != 100 {
		t.Errorf("%d lines, then %d in all, %d of them different", len(first), len(all), n)
	}
}

// A failure is logged with growing pauses, and does not end Run.
func TestRunWaitsLongerAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testutil.LogBuffer
		f := newFixture(t, "h:1", Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		start, tried, failing := time.Now(), []time.Duration{}, true
		f.dial = func(context.Context) (net.Conn, error) {
			tried = append(tried, time.Since(start))
			if failing {
				return nil, errors.New("no such host")
			}
			return f.daemon, nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(tried); n < 12 || n > 20 || tried[0] != interval || tried[1] != 3*interval || tried[n-1]-tried[n-2] != maxInterval {
			t.Errorf("tried at %v", tried)
		}
		if f.Up() || strings.Count(log.String(), "cannot send metrics to -statsd") != len(tried) {
			t.Errorf("up %v after %d failures:\n%s", f.Up(), len(tried), log.String())
		}
		failing, tried = false, nil
		f.requests.WithLabelValues("serve.0", "GET", "200").Add(5)
		time.Sleep(maxInterval + 5*interval)
		synctest.Wait()
		if n := len(tried); n < 5 || tried[n-1]-tried[n-2] != interval || !f.Up() || strings.Count(log.String(), "sending metrics to -statsd") != 1 {
			t.Errorf("up %v, tried at %v:\n%s", f.Up(), tried, log.String())
		}
		f.requests.WithLabelValues("serve.0", "GET", "200").Inc()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := f.daemon.take(); !slices.Equal(got, []string{"gale.http_requests_total.200.GET.serve_0:1|c", "gale.http_requests_total.200.GET.serve_0:5|c"}) {
			t.Errorf("sent %q", got)
		}
	})
}

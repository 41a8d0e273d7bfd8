package history

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// body is the result of JSON.
type body struct {
	Series map[string]struct {
		Step, From int64
		Values     map[string][]*float64
	}
}

func read(t *testing.T, h *History) (b body) {
	t.Helper()
	text, err := h.JSON()
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range b.Series {
		for value, all := range s.Values {
			if len(all) != len(s.Values["requests"]) || len(s.Values) != len(names) {
				t.Errorf("%s has %d values of %s, %d of requests", name, len(all), value, len(s.Values["requests"]))
			}
		}
	}
	return b
}

// hour returns the values of a name in the last hour, with -1 for an unknown value.
func (b body) hour(name string) (all []float64) {
	for _, v := range b.Series["hour"].Values[name] {
		if v == nil {
			all = append(all, -1)
		} else {
			all = append(all, *v)
		}
	}
	return all
}

// load is a server with a number of requests per second.
type load struct {
	mu     sync.Mutex
	rate   float64
	began  time.Time
	totals Totals
	err    error
}

func (l *load) source(context.Context) (Totals, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seconds := time.Since(l.began).Seconds()
	l.began = time.Now()
	n := l.rate * seconds
	l.totals.Requests += n
	l.totals.Errors += n / 10
	l.totals.Latency = Histogram{Bounds: []float64{1, 2}, Counts: []float64{l.totals.Requests, 0, 0}}
	l.totals.Succeeded += n / 2
	return l.totals, l.err
}

// set changes the rate and the error of the next calls.
func (l *load) set(rate float64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.err = rate, err
}

// running runs a History in a bubble whose clock is at a full step.
func running(t *testing.T, o Options, l *load, story func(t *testing.T, h *History)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l.began = time.Now()
		h := New(o)
		h.Restore(nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx, l.source) }() // ends with cancel
		story(t, h)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

func TestHistoryHasRatesAndQuantiles(t *testing.T) {
	running(t, Options{}, &load{rate: 20}, func(t *testing.T, h *History) {
		if b := read(t, h); len(b.hour("requests")) != 0 || b.Series["hour"].Step != 10 || b.Series["day"].Step != 300 {
			t.Errorf("at first: %+v", b)
		}
		began := time.Now().Unix()
		pass(30 * time.Second)
		b := read(t, h)
		hour := b.Series["hour"]
		if hour.From != began || len(b.hour("requests")) != 3 {
			t.Fatalf("from %d, began %d, %v", hour.From, began, b.hour("requests"))
		}
		for name, want := range map[string]float64{
			"requests": 20, "errors": 2, "latency_p50": .5, "latency_p95": .95, "tasks_succeeded": 10,
			"tasks_failed": 0, "tasks_retried": 0, "tasks_waiting": -1, "task_p95": -1,
		} {
			for i, got := range b.hour(name) {
				if math.Abs(got-want) > 1e-3 {
					t.Errorf("%s[%d] = %v, want %v", name, i, got, want)
				}
			}
		}
		if day := b.Series["day"].Values["requests"]; len(day) != 1 || *day[0] != 20 {
			t.Errorf("day: %v", day)
		}
	})
}

func TestHistoryHasAFixedSize(t *testing.T) {
	l := &load{rate: 5}
	running(t, Options{}, l, func(t *testing.T, h *History) {
		l.set(1, nil)
		pass(25 * time.Hour)
		b := read(t, h)
		if got := len(b.hour("requests")); got != 360 {
			t.Errorf("%d points in the hour", got)
		}
		day := b.Series["day"].Values["requests"]
		if len(day) != 288 || *day[0] != 1 || *day[287] != 1 {
			t.Errorf("%d points in the day", len(day))
		}
		if from := b.Series["day"].From; from != time.Now().Add(-24*time.Hour).Unix() {
			t.Errorf("the day begins at %d, it is %d", from, time.Now().Unix())
		}
	})
}

// While the totals cannot be read, points are unknown. The next window is too long for a rate
// of one point, and the one after it is known again.
func TestHistoryHasGaps(t *testing.T) {
	l := &load{rate: 1}
	running(t, Options{}, l, func(t *testing.T, h *History) {
		pass(20 * time.Second)
		l.set(1, errors.New("no response"))
		pass(2 * time.Minute)
		l.set(1, nil)
		pass(20 * time.Second)
		got := read(t, h).hour("requests")
		if len(got) != 16 || got[1] != 1 || got[2] != -1 || got[14] != -1 || got[15] != 1 {
			t.Errorf("%v", got)
		}
	})
}

func TestHistorySurvivesARestart(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "history")}
	running(t, o, &load{rate: 7}, func(_ *testing.T, h *History) { pass(time.Minute) }) // and is written at the end
	if info, err := os.Stat(o.Path); err != nil || info.Mode() != 0o600 || info.Size() > 100_000 {
		t.Fatalf("%v, %v", info, err)
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(2 * time.Minute) // the server was down; a new bubble begins at the same time as the first one
		h := New(o)
		h.Restore(nil)
		defer h.file.close()
		if got := read(t, h).hour("requests"); len(got) != 12 || got[0] != 7 || got[5] != 7 || got[6] != -1 || got[11] != -1 {
			t.Errorf("after the start: %v", got)
		}
		h.add(Totals{Requests: 30}, time.Now().Add(10*time.Second)) // counters begin at zero again
		if got := read(t, h).hour("requests"); len(got) != 13 || got[12] != 3 {
			t.Errorf("after the first reading: %v", got)
		}
	})
}

// A reload hands the last reading over, so that no request is lost or counted twice.
func TestHistorySurvivesAReload(t *testing.T) {
	l := &load{rate: 4}
	running(t, Options{}, l, func(t *testing.T, h *History) {
		pass(24 * time.Second)
		next := New(Options{})
		next.Restore(h.Handover())
		pass(2 * time.Second)
		next.mu.Lock()
		at := next.at
		next.mu.Unlock()
		if age := time.Since(at); age != 6*time.Second {
			t.Errorf("the last reading is %v old", age)
		}
		now, _ := l.source(t.Context())
		next.add(now, time.Now())
		got := read(t, next).hour("requests")
		if len(got) != 3 || got[0] != 4 || math.Abs(got[2]-4) > 1e-3 {
			t.Errorf("%v", got)
		}
		// The file of the release before has no reading: the counters begin at zero.
		if again := New(Options{}); len(read(t, again).hour("requests")) != 0 {
			t.Error("a new history has points")
		}
	})
}

func TestHistoryWhenTheClockIsSet(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // without a monotonic reading
	h := New(Options{})
	h.at = at
	total := 0.0
	step := func(d time.Duration) {
		total += 10
		at = at.Add(d)
		h.add(Totals{Requests: total}, at)
	}
	for range 5 {
		step(10 * time.Second)
	}
	step(-time.Hour) // this window is unknown
	for range 3 {
		step(10 * time.Second)
	}
	if len(h.hour.points) != 8 || h.hour.end != at.Unix()/10 || h.hour.points[0][0] != 1 || h.hour.points[7][0] != 1 {
		t.Errorf("set back: %d points until %d, it is %d", len(h.hour.points), h.hour.end*10, at.Unix())
	}
	step(20 * time.Minute)
	step(10 * time.Second)
	if n := len(h.hour.points); n != 129 || !math.IsNaN(h.hour.points[8][0]) || h.hour.points[0][0] != 1 {
		t.Errorf("set forward: %d points", n)
	}
	step(1000 * time.Hour)
	step(10 * time.Second)
	if n := len(h.hour.points); n != 1 {
		t.Errorf("set far forward: %d points", n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.day.points[len(h.day.points)-1][0] != 1 {
		t.Errorf("day: %v", h.day.points)
	}
}

// A short window, as after a start just before a full step, is extended.
func TestHistoryExtendsAShortWindow(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 9, 500e6, time.UTC)
	h := New(Options{})
	h.at = at
	h.add(Totals{Requests: 10}, at.Add(500*time.Millisecond))
	if len(h.hour.points) != 0 {
		t.Errorf("%v", h.hour.points)
	}
	h.add(Totals{Requests: 21}, at.Add(10500*time.Millisecond))
	if len(h.hour.points) != 1 || h.hour.points[0][0] != 2 || h.hour.end != at.Unix()/10+2 {
		t.Errorf("%v until %d", h.hour.points, h.hour.end)
	}
}

func TestQuantile(t *testing.T) {
	bounds := []float64{.1, .5, 1}
	for name, c := range map[string]struct {
		counts  []float64
		q, want float64
	}{
		"middle of a bucket":   {[]float64{0, 10, 0, 0}, .5, .3},
		"first bucket":         {[]float64{10, 0, 0, 0}, .5, .05},
		"above the last bound": {[]float64{0, 0, 0, 3}, .5, 1},
		"end of a bucket":      {[]float64{5, 5, 0, 0}, .5, .1},
	} {
		if got := (Histogram{bounds, c.counts}).quantile(c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for _, h := range []Histogram{{}, {bounds, []float64{0, 0, 0, 0}}, {bounds, []float64{1}}} {
		if got := h.quantile(.5); !math.IsNaN(got) {
			t.Errorf("%v: %v", h, got)
		}
	}
}

// Two releases may have different bounds. The window between them has no quantiles.
func TestHistogramsOfTwoReleases(t *testing.T) {
	old, recent := Histogram{[]float64{1}, []float64{5, 0}}, Histogram{[]float64{1, 2}, []float64{5, 1, 0}}
	if got := recent.since(old); len(got.Counts) != 0 {
		t.Errorf("%v", got)
	}
	if got := old.plus(recent); len(got.Counts) != 3 {
		t.Errorf("%v", got)
	}
	if got := old.since(Histogram{[]float64{1}, []float64{7, 0}}); got.Counts[0] != 0 {
		t.Errorf("a total that fell: %v", got)
	}
}

// BenchmarkRead is the cost of a point and of the response that is encoded after it.
func BenchmarkRead(b *testing.B) {
	h := New(Options{})
	at := time.Now()
	for i := range 1000 {
		h.add(Totals{Requests: float64(i), Latency: Histogram{[]float64{1}, []float64{float64(i), 0}}}, at.Add(time.Duration(i)*interval))
	}
	b.ReportAllocs()
	for b.Loop() {
		h.encoded = nil
		if _, err := h.JSON(); err != nil {
			b.Fatal(err)
		}
	}
}

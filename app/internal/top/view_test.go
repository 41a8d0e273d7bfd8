package top

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/prefork"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// filled returns a model of a server with work.
func filled(tasks int) *model {
	m := newModel(Options{Title: "server top", Address: "127.0.0.1:9888"})
	m.problems = [panels]string{}
	m.status = status{Version: "gale 1.2.3", PID: 4242, Slots: []prefork.SlotStatus{
		{Slot: "serve.0", State: prefork.StateLive, PID: 4250, Connections: 120, RSS: 30 << 20},
		{Slot: "serve.1", State: prefork.StateBooting, PID: 4251, Restarts: 2, LastExit: "signal: killed"},
		{Slot: "worker.0", State: prefork.StateLive, PID: 4252, RSS: 25 << 20},
	}}
	m.rates = map[string]figures{"serve.0": {1234.5, 0.42}, "serve.1": {-1, -1}}
	m.queues = []driver.Depth{{Queue: "default", Waiting: 3, Running: 2, Oldest: 5 * time.Second}, {Queue: "media", Scheduled: 7, Dead: 1, Paused: true}}
	for i := range tasks {
		m.tasks = append(m.tasks, &jobs.Task{
			ID: fmt.Sprintf("task-%02d", i), Name: "long_running_task", Queue: "default", State: jobs.StateRunning, Attempts: 1,
			Progress: 40, Note: "step 2", Created: noon.Add(-time.Duration(i) * time.Minute),
		})
	}
	return m
}

func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	return b.String()
}

func TestView(t *testing.T) {
	m := filled(9)
	m.move(1)
	want := strings.Join([]string{
		" server top  gale 1.2.3  pid 4242  127.0.0.1:9888",
		"  SLOT                 STATE         PID RESTARTS  CONNS    REQ/S   CPU     MEMORY",
		"  serve.0              live         4250        0    120   1234.5   42%   30.0 MiB",
		"  serve.1              booting      4251        2      0        -     -    0.0 MiB",
		"  worker.0             live         4252        0      0        -     -   25.0 MiB",
		"",
		"  QUEUE                    WAITING  RUNNING SCHEDULED     DEAD OLDEST STATE",
		"  default                        3        2         0        0     5s active",
		"  media                          0        0         7        1     0s paused",
		"",
		"  TASK ID                    NAME                  QUEUE      STATE     DONE  AGE",
		"  task-00                    long_running_task     default    running    40%   0s",
		"> task-01                    long_running_task     default    running    40%   1m",
		"  task-02                    long_running_task     default    running    40%   2m",
	}, "\n")
	got := text(m.view(80, 24, noon))
	if !strings.HasPrefix(squeeze(got), squeeze(want)) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if tail := strings.Split(got, "\n")[22:]; tail[0] != " task-01, attempt 1, step 2" || tail[1] != strings.TrimRight(keysHelp, " ") {
		t.Errorf("the last lines are %q", tail)
	}
}

// squeeze makes each run of spaces one space, so that widths of columns may change.
func squeeze(s string) string {
	var all []string
	for l := range strings.Lines(s) {
		all = append(all, strings.Join(strings.Fields(l), " "))
	}
	return strings.Join(all, "\n")
}

// The page fills every size of terminal exactly, whatever it contains.
func TestViewFits(t *testing.T) {
	for _, size := range [][2]int{{80, 16}, {80, 24}, {81, 25}, {132, 50}, {300, 200}} {
		for _, n := range []int{0, 1, 100} {
			m := filled(n)
			if n > 0 {
				m.tasks[0].ID, m.tasks[0].Name = strings.Repeat("x", 128), "\x1b[2J\u202eörtliche 任务任务任务任务任务任务 👩‍👩‍👧"
				m.tasks[0].Error = strings.Repeat("很", 300)
			}
			for focus := range panels {
				m.focus = focus
				lines := m.view(size[0], size[1], noon)
				if len(lines) != size[1] {
					t.Errorf("%v, %d tasks: %d lines", size, n, len(lines))
				}
				for y, l := range lines {
					if w := width(l.String()); w != 0 && w != size[0] || strings.ContainsAny(l.String(), "\x1b\u202e\n") {
						t.Errorf("%v, %d tasks, line %d has %d columns: %q", size, n, y, w, l)
					}
				}
			}
		}
	}
	if got, want := text(filled(1).view(79, 24, noon)), "server top needs a terminal of 80 x 16, this one has 79 x 24\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		height int
		needs  [panels]int
		want   [panels]int
	}{
		{15, [panels]int{2, 1, 100}, [panels]int{2, 1, 12}},
		{15, [panels]int{100, 100, 100}, [panels]int{5, 3, 7}},
		{15, [panels]int{100, 100, 1}, [panels]int{11, 3, 1}},
		{15, [panels]int{6, 100, 1}, [panels]int{6, 8, 1}},
		{7, [panels]int{9, 9, 9}, [panels]int{2, 1, 4}},
	} {
		if got := share(c.height, c.needs); got != c.want {
			t.Errorf("share(%d, %v) = %v, want %v", c.height, c.needs, got, c.want)
		}
	}
}

// A selected task stays selected while new tasks arrive. At the top, the newest one is.
func TestSelection(t *testing.T) {
	m := filled(30)
	newer := func(n int) {
		m.tasks = slices.Insert(m.tasks, 0, &jobs.Task{ID: fmt.Sprint("new", n), Created: noon})
		m.view(80, 24, noon)
	}
	expect := func(want string) {
		t.Helper()
		if got, _ := m.selected(panelTasks); got != want {
			t.Errorf("selected %q, want %q", got, want)
		}
	}
	expect("task-00")
	newer(1)
	expect("new1")
	m.move(3)
	expect("task-02")
	newer(2)
	expect("task-02")
	if !strings.Contains(text(m.view(80, 24, noon)), "\n> task-02") {
		t.Error("the selected task is not shown")
	}
	m.tasks = slices.DeleteFunc(m.tasks, func(t *jobs.Task) bool { return t.ID == "task-02" })
	m.view(80, 24, noon)
	expect("task-03")
	m.key(tcell.NewEventKey(tcell.KeyEnd, 0, tcell.ModNone))
	expect("task-29")
	m.key(tcell.NewEventKey(tcell.KeyHome, 0, tcell.ModNone))
	newer(3)
	expect("new3")
	m.key(tcell.NewEventKey(tcell.KeyTab, 0, tcell.ModNone))
	expect("")
}

// A filter ignores case, and the selected row is one that matches.
func TestFilter(t *testing.T) {
	m := filled(30)
	for _, r := range "/TASK-17x" {
		m.key(tcell.NewEventKey(tcell.KeyRune, r, tcell.ModNone))
	}
	m.key(tcell.NewEventKey(tcell.KeyBackspace2, 0, tcell.ModNone))
	m.key(tcell.NewEventKey(tcell.KeyEnter, 0, tcell.ModNone))
	if got, _ := m.selected(panelTasks); got != "task-17" {
		t.Errorf("selected %q", got)
	}
	if wanted, _ := m.key(tcell.NewEventKey(tcell.KeyRune, 'r', tcell.ModNone)); wanted == nil || *wanted != (action{verbRetry, "task-17"}) {
		t.Errorf("%v", wanted)
	}
	m.lists[panelTasks].filter = "nothing"
	if wanted, _ := m.key(tcell.NewEventKey(tcell.KeyRune, 'r', tcell.ModNone)); wanted != nil {
		t.Errorf("%v", wanted)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{fit("abc", 5, false), "abc  "}, {fit("abc", 5, true), "  abc"}, {fit("abcdef", 5, false), "abcd…"},
		{fit("任务任务", 6, false), "任务… "}, {fit("a\x1b[31m\nb", 8, false), "a [31m b"}, {fit("x", 0, false), ""},
		{age(-time.Second), "0s"}, {age(59 * time.Second), "59s"}, {age(90 * time.Second), "1m"}, {age(47 * time.Hour), "47h"}, {age(500 * 24 * time.Hour), "500d"},
		{optional("%.1f", -1), "-"}, {optional("%.1f", 0), "0.0"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestRates(t *testing.T) {
	first, err := parseSample([]byte("gale_http_requests_total{slot=\"serve.0\",code=\"200\"} 10\nprocess_cpu_seconds_total{slot=\"serve.0\"} 2\n"), noon)
	if err != nil {
		t.Fatal(err)
	}
	second, err := parseSample([]byte("# TYPE gale_http_requests_total counter\ngale_http_requests_total{slot=\"serve.0\",code=\"200\"} 25\ngale_http_requests_total{slot=\"serve.0\",code=\"404\"} 5\n"+
		"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total{slot=\"serve.0\"} 1\n"), noon.Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if second.requests["serve.0"] != 30 {
		t.Errorf("%v", second.requests)
	}
	d := second.at.Sub(first.at)
	if got := rate(map[string]float64{"serve.0": 10}, second.requests, "serve.0", d); got != 10 {
		t.Errorf("rate %v, want 10", got)
	}
	if got := rate(map[string]float64{"serve.0": 2}, second.cpu, "serve.0", d); got != -1 {
		t.Errorf("rate of a process that was replaced: %v", got)
	}
	if got := rate(nil, second.requests, "serve.0", d); got != -1 {
		t.Errorf("first rate: %v", got)
	}
	if _, err := parseSample([]byte("<html>"), noon); err == nil {
		t.Error("HTML was accepted")
	}
}

// A serving slot without a request has the rate 0; without metrics, no rate is known.
func TestRatesOfIdleSlots(t *testing.T) {
	broken := false
	a := newAdminReader(Options{Address: "a", Admin: func(_ context.Context, page string) (int, []byte, error) {
		switch {
		case page == "/status":
			return http.StatusOK, []byte(`{"slots":[{"slot":"serve.0","role":"serve"},{"slot":"worker.0","role":"worker"}]}`), nil
		case broken:
			return http.StatusServiceUnavailable, nil, nil
		}
		return http.StatusOK, nil, nil
	}})
	for _, c := range []struct {
		broken bool
		want   float64
	}{{false, -1}, {false, 0}, {true, -1}, {false, -1}, {false, 0}} {
		broken = c.broken
		_, rates, err := a.read(t.Context())
		if err != nil || rates["serve.0"].requests != c.want || rates["worker.0"].requests != -1 {
			t.Errorf("%v, %v; want %v", rates, err, c.want)
		}
	}
}

package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/meter"
)

// double returns twice its argument; collect returns all its arguments.
var (
	double = jobs.Definition{
		Name: "double", Args: []jobs.Arg{{Name: "n", Type: jobs.ArgInteger}},
		Handler: func(_ context.Context, job *jobs.Job) error {
			var n int64
			if err := job.Args(&n); err != nil {
				return err
			}
			if n < 0 {
				return errors.New("negative")
			}
			return job.Return(2 * n)
		},
	}
	collect = jobs.Definition{
		Name: "collect",
		Handler: func(_ context.Context, job *jobs.Job) error {
			all := make([]int64, job.Len())
			targets := make([]any, len(all))
			for i := range all {
				targets[i] = &all[i]
			}
			if err := job.Args(targets...); err != nil {
				return err
			}
			return job.Return(all)
		},
	}
)

func signature(name string, args ...int64) *tasks.Signature {
	s := &tasks.Signature{UUID: jobs.NewID(), Name: name}
	for _, n := range args {
		s.Args = append(s.Args, tasks.Arg{Type: "int64", Value: n})
	}
	return s
}

func TestChain(t *testing.T) {
	f := newFixture(t, double, collect)
	f.work(t, machinery.Options{})
	chain, err := tasks.NewChain(signature("double", 1<<53+1), signature("double"), signature("collect", 7))
	if err != nil {
		t.Fatal(err)
	}
	first, err := machinery.SendChain(t.Context(), f.client, chain)
	if err != nil || first.ID != chain.Tasks[0].UUID {
		t.Fatalf("SendChain = %+v, %v", first, err)
	}
	for _, s := range chain.Tasks { // each is enqueued when the one before it ends
		f.await(t, s.UUID, in(jobs.StateSuccess))
	}
	if last, _ := f.store.Get(t.Context(), chain.Tasks[2].UUID); string(last.Result) != fmt.Sprintf("[7,%d]", int64(1<<53+1)*4) {
		t.Errorf("last of the chain: %+v, result %s", last, last.Result)
	}
}

// chord returns a chord of machinery. Its members double numbers, and its callback collects
// the results.
func chord(t *testing.T, numbers ...int64) *tasks.Chord {
	t.Helper()
	var members []*tasks.Signature
	for _, n := range numbers {
		members = append(members, signature("double", n))
	}
	group, err := tasks.NewGroup(members...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tasks.NewChord(group, signature("collect"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChord(t *testing.T) {
	f := newFixture(t, double, collect)
	f.work(t, machinery.Options{Concurrency: 8})
	c := chord(t, 3, 1, 2)
	if err := machinery.SendChord(t.Context(), f.client, c); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Group.Tasks {
		f.await(t, s.UUID, in(jobs.StateSuccess))
	}
	if task := f.await(t, c.Callback.UUID, final); task.State != jobs.StateSuccess || string(task.Result) != "[6,2,4]" {
		t.Errorf("callback: %+v, result %s", task, task.Result)
	}

	broken := chord(t, 1, -1)
	if err := machinery.SendChord(t.Context(), f.client, broken); err != nil {
		t.Fatal(err)
	}
	bad := broken.Group.Tasks[1].UUID
	f.await(t, bad, in(jobs.StateFailed))
	if task := f.await(t, broken.Callback.UUID, final); task.State != jobs.StateFailed || task.Error != driver.ChordError(bad, "negative") {
		t.Errorf("callback of a broken chord: %+v", task)
	}
}

func TestGroupIsRefusedWhole(t *testing.T) {
	f := newFixture(t, double, collect)
	for name, c := range map[string]struct {
		g    jobs.NewGroup
		want error
	}{
		"empty":            {jobs.NewGroup{}, jobs.ErrOption},
		"unknown member":   {jobs.NewGroup{Members: []jobs.NewTask{{ID: "a", Name: "double", Args: json.RawMessage(`[1]`)}, {Name: "nope"}}}, jobs.ErrUnknownTask},
		"wrong arguments":  {jobs.NewGroup{Members: []jobs.NewTask{{ID: "a", Name: "double", Args: json.RawMessage(`["x"]`)}}}, jobs.ErrArgs},
		"unknown callback": {jobs.NewGroup{Members: []jobs.NewTask{{ID: "a", Name: "double", Args: json.RawMessage(`[1]`)}}, Callback: &jobs.NewTask{Name: "nope"}}, jobs.ErrUnknownTask},
		"callback's args":  {jobs.NewGroup{Members: []jobs.NewTask{{ID: "a", Name: "double", Args: json.RawMessage(`[1]`)}}, Callback: &jobs.NewTask{Name: "collect", Args: json.RawMessage(`{}`)}}, jobs.ErrArgs},
		"group's id":       {jobs.NewGroup{ID: "../x", Members: []jobs.NewTask{{ID: "a", Name: "double", Args: json.RawMessage(`[1]`)}}}, jobs.ErrOption},
	} {
		t.Run(name, func(t *testing.T) {
			if _, created, err := f.client.EnqueueGroup(t.Context(), c.g); created || !errors.Is(err, c.want) {
				t.Errorf("EnqueueGroup = %v, %v; want %v", created, err, c.want)
			}
		})
	}
	if _, err := f.store.Get(t.Context(), "a"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a member was accepted: %v", err)
	}
	chain, _ := tasks.NewChain(signature("double", 1), signature("nope"))
	if _, err := machinery.SendChain(t.Context(), f.client, chain); !errors.Is(err, jobs.ErrUnknownTask) {
		t.Errorf("SendChain = %v", err)
	}
}

func TestCounters(t *testing.T) {
	var counters meter.Counters
	watch := make(stopwatch, 100)
	f := newFixture(t, double, flaky())
	f.client.Meter = &counters
	f.work(t, machinery.Options{Meter: &counters, Stopwatch: watch})
	good := f.enqueue(t, jobs.NewTask{Name: "double", Args: json.RawMessage(`[1]`)}).ID
	bad := f.enqueue(t, jobs.NewTask{Name: "double", Args: json.RawMessage(`[-1]`), Queue: jobs.DefaultQueue}).ID
	f.enqueue(t, jobs.NewTask{Name: "double", Args: json.RawMessage(`[1]`), Queue: "elsewhere"})
	again := f.enqueue(t, jobs.NewTask{Name: "flaky", MaxRetries: 1}).ID
	if _, _, err := f.client.Enqueue(t.Context(), jobs.NewTask{ID: good, Name: "double", Args: json.RawMessage(`[1]`)}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{good, bad, again} {
		f.await(t, id, final)
	}
	want := strings.Join([]string{
		"enqueued double default 2", "enqueued double elsewhere 1", "enqueued flaky default 1", "failed double default 1",
		"retried flaky default 1", "started double default 2", "started flaky default 2",
		"succeeded double default 1", "succeeded flaky default 1",
	}, "\n")
	seen := func() string {
		var lines []string
		for _, c := range counters.All() {
			lines = append(lines, fmt.Sprint(c.Event, " ", c.Task, " ", c.Queue, " ", c.Total))
		}
		return strings.Join(lines, "\n")
	}
	// The outcome is stored a moment before it is counted.
	for end := time.Now().Add(60 * time.Second); seen() != want && time.Now().Before(end); {
		<-time.After(5 * time.Millisecond)
	}
	if got := seen(); got != want {
		t.Errorf("counted\n%s\nwant\n%s", got, want)
	}
	var ended []string
	for range 4 {
		select {
		case line := <-watch:
			ended = append(ended, line)
		case <-time.After(60 * time.Second):
			t.Fatalf("only %q were timed", ended)
		}
	}
	slices.Sort(ended)
	if want := []string{"failed double", "retried flaky", "succeeded double", "succeeded flaky"}; !slices.Equal(ended, want) || len(watch) > 0 {
		t.Errorf("timed %q, and %d more; want %q", ended, len(watch), want)
	}
}

// stopwatch records the calls of Took.
type stopwatch chan string

func (s stopwatch) Took(e meter.Event, task string, took time.Duration) {
	if took > 0 {
		s <- string(e) + " " + task
	}
}

// flaky fails at its first attempt.
func flaky() jobs.Definition {
	return jobs.Definition{Name: "flaky", Handler: func(_ context.Context, job *jobs.Job) error {
		if job.Attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	}}
}

// The number of counters is limited, because clients can choose names of queues.
func TestCountersAreBounded(t *testing.T) {
	var c meter.Counters
	const many = 5000
	for i := range many {
		c.Count(meter.EventEnqueued, "t", fmt.Sprint("q", i))
	}
	var sum, other uint64
	for _, f := range c.All() {
		sum += f.Total
		if f.Queue == meter.Other {
			other = f.Total
		}
	}
	if n := len(c.All()); n > 1001 || sum != many || other == 0 {
		t.Errorf("%d series, %d events counted, %d of them as %s", n, sum, other, meter.Other)
	}
}

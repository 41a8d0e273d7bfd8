package jobstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var listChecks = []check{
	{"a list is newest first, with each task on one page", (*suite).pages},
	{"a list is filtered by state, name and queue", (*suite).filters},
	{"a list is filtered by text and time", (*suite).filtersText},
	{"an empty store lists nothing", (*suite).listsNothing},
	{"tasks past their retention time are not listed", (*suite).listForgets},
	{"a page of large tasks ends early", (*suite).pageBytes},
}

// listAll reads all pages of q and returns the ids of the tasks.
func listAll(t *testing.T, st driver.Store, q jobs.Query) (all []string) {
	t.Helper()
	for range 1000 {
		p, err := st.List(t.Context(), q)
		if err != nil {
			t.Fatalf("List %+v: %v", q, err)
		}
		if len(p.Tasks) > q.PageSize() {
			t.Fatalf("page has %d tasks, want at most %d", len(p.Tasks), q.PageSize())
		}
		for _, each := range p.Tasks {
			all = append(all, each.ID)
		}
		if p.Next == 0 {
			return all
		}
		q.Before = p.Next
	}
	t.Fatal("every one of 1000 pages has a Next")
	return nil
}

func (s *suite) pages(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	g := jobs.NewGroup{ID: "g"}
	var want []string
	for i := range 7 {
		id := fmt.Sprint("g", (i*5)%7) // not in the order of their names
		g.Members = append(g.Members, task(id))
		want = append(want, id)
	}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		id := fmt.Sprint("t", (i*3)%8)
		enqueue(t, st, task(id))
		want = append(want, id)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 4, 15, 100} {
		if got := listAll(t, other, jobs.Query{Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, want)
		}
	}
	first, err := other.List(t.Context(), jobs.Query{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, st, task("meanwhile"))
	if got := listAll(t, other, jobs.Query{Limit: 3, Before: first.Next}); !slices.Equal(got, want[3:]) {
		t.Errorf("after another task was accepted: %v, want %v", got, want[3:])
	}
	if p, err := other.List(t.Context(), jobs.Query{Limit: 1}); err != nil || len(p.Tasks) != 1 || p.Tasks[0].ID != "meanwhile" {
		t.Errorf("the newest task is %+v, %v", p, err)
	}
}

func (s *suite) filtersText(t *testing.T) {
	st := s.handle(t)
	args := func(id, args, kwargs string) jobs.NewTask {
		n := task(id)
		if n.Args = json.RawMessage(args); kwargs != "" {
			n.Kwargs = json.RawMessage(kwargs)
		}
		return n
	}
	enqueue(t, st, args("first", `["apple pie"]`, ""))
	enqueue(t, st, args("second", `["100% x"]`, `{"fruit":"apple"}`))
	enqueue(t, st, args("apple.3", `[]`, ""))
	var created []time.Time
	for _, id := range []string{"first", "second", "apple.3"} {
		task, err := st.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		created = append(created, task.Created)
	}
	if !created[0].Before(created[1]) || !created[1].Before(created[2]) {
		t.Fatalf("created at %v", created)
	}
	for _, row := range []struct {
		q    jobs.Query
		want []string
	}{
		{jobs.Query{Text: "apple"}, []string{"apple.3", "second", "first"}},
		{jobs.Query{Text: "apple pie"}, []string{"first"}},
		{jobs.Query{Text: "fruit"}, []string{"second"}},
		{jobs.Query{Text: "100%"}, []string{"second"}}, // no pattern of SQL or Lua
		{jobs.Query{Text: "e.3"}, []string{"apple.3"}},
		{jobs.Query{Text: "wor"}, []string{"apple.3", "second", "first"}}, // the name is work
		{jobs.Query{Text: "Apple"}, nil},
		{jobs.Query{Text: "a%"}, nil},
		{jobs.Query{Text: "apple", State: jobs.StateFailed}, nil},
		{jobs.Query{Since: created[1]}, []string{"apple.3", "second"}},
		{jobs.Query{Since: created[1].Add(time.Nanosecond)}, []string{"apple.3"}},
		{jobs.Query{Until: created[1]}, []string{"first"}},
		{jobs.Query{Until: created[1].Add(time.Nanosecond)}, []string{"second", "first"}},
		{jobs.Query{Since: created[1], Until: created[2], Text: "apple"}, []string{"second"}},
		{jobs.Query{Since: time.Now().Add(time.Hour)}, nil},
	} {
		if got := listAll(t, st, row.q); !slices.Equal(got, row.want) {
			t.Errorf("%+v: %v, want %v", row.q, got, row.want)
		}
	}
}

func (s *suite) filters(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("ok"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	enqueue(t, st, task("bad"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateDead, Error: "x"})
	enqueue(t, st, task("works"))
	leaseOne(t, st, "w")
	later := task("later")
	later.RunAt = time.Now().Add(time.Hour)
	enqueue(t, st, later)
	enqueue(t, st, task("waits"))
	elsewhere := jobs.NewTask{ID: "elsewhere", Name: "other", Queue: "b"}
	enqueue(t, st, elsewhere)
	for _, row := range []struct {
		q    jobs.Query
		want []string
	}{
		{jobs.Query{State: jobs.StateSuccess}, []string{"ok"}},
		{jobs.Query{State: jobs.StateDead}, []string{"bad"}},
		{jobs.Query{State: jobs.StateRunning}, []string{"works"}},
		{jobs.Query{State: jobs.StateScheduled}, []string{"later"}},
		{jobs.Query{State: jobs.StateQueued}, []string{"elsewhere", "waits"}},
		{jobs.Query{State: jobs.StateQueued, Queue: "b"}, []string{"elsewhere"}},
		{jobs.Query{Name: "other"}, []string{"elsewhere"}},
		{jobs.Query{Name: "other", Queue: jobs.DefaultQueue}, nil},
		{jobs.Query{State: jobs.StateFailed}, nil},
		{jobs.Query{Queue: jobs.DefaultQueue, Limit: 2}, []string{"waits", "later", "works", "bad", "ok"}},
	} {
		if got := listAll(t, st, row.q); !slices.Equal(got, row.want) {
			t.Errorf("%+v: %v, want %v", row.q, got, row.want)
		}
	}
	p, err := st.List(t.Context(), jobs.Query{State: jobs.StateDead})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, st, p.Tasks[0])
}

func (s *suite) listsNothing(t *testing.T) {
	if p, err := s.handle(t).List(t.Context(), jobs.Query{}); err != nil || len(p.Tasks) != 0 || p.Tasks == nil || p.Next != 0 {
		t.Errorf("List = %+v, %v", p, err)
	}
}

func (s *suite) listForgets(t *testing.T) {
	st := s.keeping(t, 100*time.Millisecond)
	enqueue(t, st, task("old"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	testutil.Eventually(t, "the task is not listed any more", func() bool { return len(listAll(t, st, jobs.Query{})) == 0 })
	enqueue(t, st, task("old")) // the id can be used again, and the list contains the new task
	enqueue(t, st, task("more"))
	if got := listAll(t, st, jobs.Query{}); !slices.Equal(got, []string{"more", "old"}) {
		t.Errorf("after the new task: %v", got)
	}
}

func (s *suite) pageBytes(t *testing.T) {
	st := s.handle(t)
	large := make([]byte, driver.PageBytes/4)
	for i := range large {
		large[i] = 'x'
	}
	for i := range 6 {
		n := task(fmt.Sprint("t", i))
		n.Args = fmt.Appendf(nil, `["%s"]`, large)
		enqueue(t, st, n)
	}
	p, err := st.List(t.Context(), jobs.Query{})
	if err != nil || len(p.Tasks) != 4 || p.Next == 0 {
		t.Fatalf("page of %d tasks, next %d, %v", len(p.Tasks), p.Next, err)
	}
	if got := listAll(t, st, jobs.Query{Before: p.Next}); !slices.Equal(got, []string{"t1", "t0"}) {
		t.Errorf("after the last page: %v", got)
	}
}

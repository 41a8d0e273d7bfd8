package jobs

import (
	"bytes"
	"math"
	"strings"
	"time"
)

// MaxPage is the largest number of tasks on a page of Store.List, and of ids in a call
// of Store.Purge.
const MaxPage = 500

// defaultPage is the default of Query.Limit.
const defaultPage = 50

// Query selects tasks for Store.List. The zero value selects all.
type Query struct {
	State State  // only tasks in this state; empty is any
	Name  string // only tasks with this name; empty is any
	Queue string // only tasks of this queue; empty is any
	// Text selects tasks with this text in their id, their name or the JSON of their
	// arguments. Upper and lower case differ. Empty is any.
	Text string
	// Since and Until select tasks that were accepted at Since or later, and before Until.
	// Zero is any time.
	Since, Until time.Time
	// Limit is the largest number of tasks on the page. Default 50, at most MaxPage.
	Limit int
	// Before is the Page.Next of the previous page; 0 starts with the newest task.
	Before int64
}

// PageSize returns Limit with its default and bound applied.
func (q Query) PageSize() int {
	if q.Limit <= 0 {
		return defaultPage
	}
	return min(q.Limit, MaxPage)
}

// Matches reports whether the query selects the task.
func (q Query) Matches(t *Task) bool {
	return (q.State == "" || q.State == t.State) && (q.Name == "" || q.Name == t.Name) && (q.Queue == "" || q.Queue == t.Queue) &&
		(q.Text == "" || strings.Contains(t.ID, q.Text) || strings.Contains(t.Name, q.Text) || bytes.Contains(t.Args, []byte(q.Text)) || bytes.Contains(t.Kwargs, []byte(q.Text))) &&
		!t.Created.Before(q.Since) && (q.Until.IsZero() || t.Created.Before(q.Until))
}

// Period returns the times of acceptance that the query selects, in microseconds since 1970:
// from since on, before until.
func (q Query) Period() (since, until int64) {
	since, until = 0, math.MaxInt64
	if !q.Since.IsZero() {
		since = q.Since.Add(time.Microsecond - 1).UnixMicro() // stores round times down
	}
	if !q.Until.IsZero() {
		until = q.Until.Add(time.Microsecond - 1).UnixMicro()
	}
	return since, until
}

// Page is a page of tasks, the newest first.
type Page struct {
	Tasks []*Task
	// Next is the Query.Before of the next page; 0 if this is the last page. A page may be
	// short or even empty although there is a next one, because a store limits how much it
	// reads for one page.
	Next int64
}

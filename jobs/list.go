package jobs

// Bounds of a page of tasks.
const (
	defaultPage = 50
	MaxPage     = 500
)

// Query asks for tasks. Its zero value asks for all.
type Query struct {
	State State  // only these; empty: any
	Name  string // only tasks of that name; empty: any
	Queue string // only what was accepted for that queue; empty: any
	// Limit is how many at most. Default 50; more than MaxPage is
	// MaxPage.
	Limit int
	// Before is the Next of the page before; 0 begins with the newest.
	Before int64
}

// Size is the limit that holds.
func (q Query) Size() int {
	if q.Limit <= 0 {
		return defaultPage
	}
	return min(q.Limit, MaxPage)
}

// Matches reports whether the query asks for the task.
func (q Query) Matches(t *Task) bool {
	return (q.State == "" || q.State == t.State) && (q.Name == "" || q.Name == t.Name) && (q.Queue == "" || q.Queue == t.Queue)
}

// Page is a part of the tasks, newest first.
type Page struct {
	Tasks []*Task
	// Next continues behind this page; 0 if nothing is left. A page may be
	// short, or empty, and have a Next: the store bounds how much it reads for one
	// page.
	Next int64
}

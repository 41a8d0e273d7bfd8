package console

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

const (
	// shownTasks is the number of tasks in a frame. Pages read older tasks by GET /tasks.
	shownTasks = 50
	// shownText is the length to which notes and errors are cut, in bytes.
	shownText = 300
)

// frames are the encoded parts of the page: processes, queues and tasks.
type frames [3][]byte

// collect reads the state of the server.
func (c *Console) collect(ctx context.Context) frames {
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	return frames{frame(c.processes(ctx)), frame(c.queues(ctx)), frame(c.newest(ctx))}
}

func frame(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // only the master's response can be invalid JSON
		text, _ = json.Marshal(processesFrame{Type: "processes", Problem: "the response of the admin endpoint is not valid; check -admin"})
	}
	return text
}

// queuesFrame holds the depths of the queues.
type queuesFrame struct {
	Type    string         `json:"type"` // queues
	Problem string         `json:"problem,omitempty"`
	Queues  []driver.Depth `json:"queues"`
}

// problemStore is the message while the task store does not respond. The stores log the
// cause.
const problemStore = "the task store does not respond; see the log of the server"

func (c *Console) queues(ctx context.Context) queuesFrame {
	f := queuesFrame{Type: "queues", Queues: []driver.Depth{}}
	all, err := c.tasks.Depth(ctx)
	if err != nil {
		f.Problem = problemStore
	}
	for _, d := range all {
		d.Oldest = d.Oldest.Round(time.Millisecond)
		f.Queues = append(f.Queues, d)
	}
	return f
}

// tasksFrame holds the newest tasks.
type tasksFrame struct {
	Type    string `json:"type"` // tasks
	Problem string `json:"problem,omitempty"`
	Tasks   []task `json:"tasks"`
	More    bool   `json:"more"` // older tasks exist
}

// task is a task object without the fields that may be large.
type task struct {
	ID       string     `json:"id"`
	Name     string     `json:"task"`
	Queue    string     `json:"queue"`
	State    jobs.State `json:"state"`
	Progress int        `json:"progress"`
	Note     string     `json:"note"`
	Attempts int        `json:"attempts"`
	Worker   string     `json:"worker"`
	Created  time.Time  `json:"created"`
	Started  *time.Time `json:"started"`
	Finished *time.Time `json:"finished"`
	Error    string     `json:"error"`
}

func (c *Console) newest(ctx context.Context) tasksFrame {
	f := tasksFrame{Type: "tasks", Tasks: []task{}}
	found, err := c.tasks.List(ctx, jobs.Query{Limit: shownTasks})
	if err != nil {
		f.Problem = problemStore
		return f
	}
	f.More = found.Next != 0
	for t := range slices.Values(found.Tasks) {
		f.Tasks = append(f.Tasks, task{
			t.ID, t.Name, t.Queue, t.State, t.Progress, utf8text.Cut(t.Note, shownText), t.Attempts, t.Worker,
			t.Created, t.Started, t.Finished, utf8text.Cut(t.Error, shownText),
		})
	}
	return f
}

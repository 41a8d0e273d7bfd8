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
	// shownTasks is how many tasks a page is kept told of; for the others there is
	// GET /tasks.
	shownTasks = 50
	// shownText cuts what tasks say of themselves, in bytes.
	shownText = 300
)

// frames are the parts of the page, each as it is sent: processes, queues, tasks.
type frames [3][]byte

// look asks all that there is to be asked.
func (c *Console) look(ctx context.Context) frames {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return frames{frame(c.processes(ctx)), frame(c.queues(ctx)), frame(c.newest(ctx))}
}

func frame(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // only the master's answer could be at fault
		text, _ = json.Marshal(processesFrame{Type: "processes", Problem: "the admin endpoint does not speak like a server"})
	}
	return text
}

// queuesFrame is what the queues hold.
type queuesFrame struct {
	Type    string         `json:"type"` // queues
	Problem string         `json:"problem,omitempty"`
	Queues  []driver.Depth `json:"queues"`
}

// problemStore is what a page says while the task store does not answer. Why it
// does not is for the log: redisdb and the stores write it.
const problemStore = "the task store does not answer"

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

// tasksFrame are the newest tasks.
type tasksFrame struct {
	Type    string `json:"type"` // tasks
	Problem string `json:"problem,omitempty"`
	Tasks   []task `json:"tasks"`
	More    bool   `json:"more"` // there are older ones
}

// task is a task object without what may be large.
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

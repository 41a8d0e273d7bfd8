package jobs

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/galeserver/gale/internal/tracing"
)

// Next returns a function that computes what follows t. The function takes the outcome of t
// (state, result and error text) and returns the tasks and groups to enqueue in the step in
// which t ends. Call it once. On success these are the OnSuccess tasks of Signature, with the
// result added to their arguments unless they are immutable. Otherwise they are its OnError
// tasks, with the error text inserted before their arguments.
//
// Options that a signature leaves out come from the Definition. A task whose Definition is
// not in r stays in its queue until a worker with the Definition starts. Next returns an
// error if Signature cannot be decoded.
func (r *Registry) Next(t *Task) (func(State, json.RawMessage, string) ([]NewTask, []NewGroup), error) {
	m, err := messageOf(t)
	if err != nil {
		return nil, err
	}
	onSuccess, err := r.followers(m.OnSuccess)
	if err != nil {
		return nil, err
	}
	onError, err := r.followers(m.OnError)
	if err != nil {
		return nil, err
	}
	return func(end State, result json.RawMessage, reason string) (tasks []NewTask, groups []NewGroup) {
		if end != StateSuccess {
			for _, f := range onError {
				tasks = append(tasks, f.withReason(reason))
			}
			return tasks, nil
		}
		for _, f := range onSuccess {
			if f.group == nil {
				tasks = append(tasks, f.withResult(result, m.Immutable))
				continue
			}
			for i, member := range f.members {
				f.group.Members[i] = member.withResult(result, m.Immutable)
			}
			groups = append(groups, *f.group)
		}
		return tasks, groups
	}, nil
}

// ErrorLinks returns the OnError tasks of the Signature of n as links, for a store that ends
// a task as dead or failed without a worker: it enqueues them with WithReason. It returns
// none if Signature cannot be decoded. They belong to the trace in the headers of n, unless
// they have one of their own.
func (n NewTask) ErrorLinks() []Link {
	m, err := messageOf(&Task{ID: n.ID, Name: n.Name, Signature: n.Signature})
	if err != nil {
		return nil
	}
	followers, err := (*Registry)(nil).followers(m.OnError)
	if err != nil {
		return nil
	}
	links, parent := make([]Link, len(followers)), tracing.ParentIn(n.Headers)
	for i, f := range followers {
		f.task.Headers = parent.AddTo(f.task.Headers, MaxHeaders)
		links[i] = Link{NewTask: f.task, Immutable: f.results == resultsNone}
	}
	return links
}

// WithReason returns the task of a link in NewTask.LinkError, with the error text of the task
// before it inserted before the arguments, unless the link is immutable.
func (l Link) WithReason(reason string) NewTask {
	if l.Immutable {
		return l.NewTask
	}
	var given []json.RawMessage
	_ = json.Unmarshal(l.Args, &given) // followers made an array
	text, _ := json.Marshal(reason)    // cannot fail for a string
	l.Args, _ = json.Marshal(append([]json.RawMessage{text}, given...))
	return l.NewTask
}

// follower is a task or a group that follows a task.
type follower struct {
	task    NewTask
	results Results
	group   *NewGroup
	members []follower // those of group, before they have the result
}

func (f follower) withReason(reason string) NewTask {
	return Link{NewTask: f.task, Immutable: f.results == resultsNone}.WithReason(reason)
}

// withResult returns the task with the result of the task before it. immutable is for a
// follower without Results.
func (f follower) withResult(result json.RawMessage, immutable bool) NewTask {
	if f.results == resultsNone || f.results == "" && immutable {
		return f.task
	}
	f.task.Args, _ = f.task.JoinResults(f.results, []json.RawMessage{result}) // cannot fail: followers made an array
	return f.task
}

// followers makes the tasks and groups of nested messages.
func (r *Registry) followers(all []*message) ([]follower, error) {
	found := make([]follower, len(all))
	for i, m := range all {
		if m == nil {
			return nil, fmt.Errorf("decode signature: %w: a task in it is null", ErrOption)
		}
		m.UUID = cmp.Or(m.UUID, NewID())
		f := follower{results: m.Results}
		var err error
		if m.Members != nil {
			err = r.setGroup(&f, m)
		} else {
			f.task, err = r.task(m)
		}
		if err != nil {
			return nil, err
		}
		found[i] = f
	}
	return found, nil
}

// task makes the task of a message. r may be nil.
func (r *Registry) task(m *message) (NewTask, error) {
	n, err := m.task()
	if err != nil {
		return NewTask{}, err
	}
	var d Definition
	if r != nil {
		d, _ = r.Lookup(n.Name) // unknown: the zero Definition
	}
	d.complete(&n)
	return n, nil
}

// setGroup sets the group of a follower.
func (r *Registry) setGroup(f *follower, m *message) (err error) {
	if f.members, err = r.followers(m.Members); err != nil {
		return err
	}
	g := &NewGroup{ID: m.UUID, Members: make([]NewTask, len(m.Members))}
	if m.Callback != nil {
		m.Callback.UUID = cmp.Or(m.Callback.UUID, NewID())
		callback, err := r.task(m.Callback)
		if err != nil {
			return err
		}
		g.Callback, g.Immutable = &callback, m.Callback.Results == resultsNone
		if !g.Immutable {
			g.Results = m.Callback.Results
		}
	}
	f.group = g
	return nil
}

package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
)

// signature is a task of Celery that follows another one.
type signature struct {
	Task    string          `json:"task"`
	Args    json.RawMessage `json:"args"`
	Kwargs  json.RawMessage `json:"kwargs"`
	Options struct {
		TaskID       string                     `json:"task_id"`
		Queue        string                     `json:"queue"`
		RoutingKey   string                     `json:"routing_key"`
		ETA          any                        `json:"eta"`
		Countdown    any                        `json:"countdown"`
		Expires      any                        `json:"expires"`
		Headers      map[string]json.RawMessage `json:"headers"`
		Link         []signature                `json:"link"`
		LinkError    []signature                `json:"link_error"`
		Chord        json.RawMessage            `json:"chord"`
		GroupID      string                     `json:"group_id"`
		GroupIndex   int                        `json:"group_index"`
		IgnoreResult bool                       `json:"ignore_result"`
	} `json:"options"`
	Immutable bool `json:"immutable"`
}

// Names of the tasks with which Celery builds workflows.
const (
	taskChain = "celery.chain"
	taskGroup = "celery.group"
	taskChord = "celery.chord"
)

// builder turns signatures into links, and makes an entry for each of their tasks.
type builder struct{ entries map[string]*entry }

// addEmbedded adds the callbacks, errbacks and the chain of a body to a task.
func (b *builder) addEmbedded(n *jobs.NewTask, e embedded) error {
	slices.Reverse(e.Chain)
	if err := b.addChain(n, e.Chain, nil); err != nil {
		return err
	}
	return b.addLinks(n, e.Callbacks, e.Errbacks, nil)
}

// addLinks adds callbacks and errbacks to a task. before are the ids of the tasks before it.
func (b *builder) addLinks(n *jobs.NewTask, callbacks, errbacks []signature, before []string) error {
	after := append([]string{n.ID}, before...)
	for i, s := range callbacks {
		l, err := b.link(s, fmt.Sprintf("%s-link%d", n.ID, i), after, false)
		if err != nil {
			return fmt.Errorf("callback %s: %w", s.Task, err)
		}
		n.Link = append(n.Link, l)
	}
	for i, s := range errbacks {
		l, err := b.link(s, fmt.Sprintf("%s-error%d", n.ID, i), after, true)
		if err == nil && l.Group != nil {
			err = errors.New("an errback cannot be a group")
		}
		if err != nil {
			return fmt.Errorf("errback %s: %w", s.Task, err)
		}
		l.Results = ""
		n.LinkError = append(n.LinkError, l)
	}
	return nil
}

// addChain adds the tasks of a chain, in their order, to the task before them.
func (b *builder) addChain(n *jobs.NewTask, chain []signature, before []string) error {
	if len(chain) == 0 {
		return nil
	}
	if len(chain) > jobs.MaxChain {
		return fmt.Errorf("the chain has more than %d tasks", jobs.MaxChain)
	}
	after := append([]string{n.ID}, before...)
	l, err := b.link(chain[0], n.ID+"-next", after, false)
	if err != nil {
		return fmt.Errorf("chain: %s: %w", chain[0].Task, err)
	}
	last := &l.NewTask // to which the rest of the chain belongs
	if l.Group != nil {
		if last = l.Group.Callback; last == nil && len(chain) > 1 {
			return errors.New("a group without a body is only supported at the end of a chain")
		}
	}
	if len(chain) > 1 {
		if err := b.addChain(last, chain[1:], after); err != nil {
			return err
		}
	}
	n.Link = append([]jobs.Link{l}, n.Link...) // GET /workflows/{id} shows the first one
	return nil
}

// link makes a link. id is for a signature without one, after are the ids of the tasks before
// it.
func (b *builder) link(s signature, id string, after []string, onError bool) (l jobs.Link, err error) {
	switch s.Task {
	case taskChain:
		return b.chainLink(s, id, after, onError)
	case taskGroup, taskChord:
		if onError {
			return l, errors.New("an errback cannot be a group")
		}
		return b.groupLink(s, id, after)
	}
	if l.NewTask, err = b.task(s, id, after, onError); err != nil {
		return l, err
	}
	if l.Immutable = s.Immutable; !l.Immutable {
		l.Results = jobs.ResultsPrepend
	}
	return l, nil
}

// task makes the task of a signature and its entry.
func (b *builder) task(s signature, id string, after []string, onError bool) (n jobs.NewTask, err error) {
	if s.Options.TaskID != "" {
		id = s.Options.TaskID
	}
	switch {
	case s.Task == "":
		return n, errors.New("a signature has no task")
	case !jobs.ValidID(id):
		return n, fmt.Errorf("id %.200q: use 1 to 128 letters, digits, dots, underscores and hyphens", id)
	case b.entries[id] != nil:
		return n, fmt.Errorf("id %q is used twice", id)
	case s.Options.ETA != nil || s.Options.Countdown != nil || s.Options.Expires != nil:
		return n, errors.New("a task that follows another one cannot have eta, countdown or expires")
	}
	queue := s.Options.Queue
	if queue == "" {
		queue = s.Options.RoutingKey
	}
	n = jobs.NewTask{ID: id, Name: s.Task, Queue: queueOf(queue), Args: s.Args, Kwargs: kwargsOf(s.Kwargs)}
	if bytes.Equal(n.Args, []byte("null")) {
		n.Args = nil
	}
	if n.Headers, err = workerHeaders(s.Options.Headers); err != nil {
		return n, err
	}
	e := &entry{Task: s.Task, After: after, OnError: onError, Silent: s.Options.IgnoreResult, Group: s.Options.GroupID, Index: s.Options.GroupIndex}
	if string(s.Options.Chord) != "null" && e.Group != "" {
		e.Chord = s.Options.Chord
	}
	b.entries[id] = e
	return n, b.addLinks(&n, s.Options.Link, s.Options.LinkError, after)
}

// chainLink makes a link of a chain: its first task, which the others follow.
func (b *builder) chainLink(s signature, id string, after []string, onError bool) (l jobs.Link, err error) {
	var k struct {
		Tasks []signature `json:"tasks"`
	}
	if err := json.Unmarshal(s.Kwargs, &k); err != nil || len(k.Tasks) == 0 {
		return l, errors.New("the chain has no tasks")
	}
	if l, err = b.link(k.Tasks[0], id, after, onError); err != nil {
		return l, err
	}
	last := &l.NewTask
	if l.Group != nil {
		if last = l.Group.Callback; last == nil && len(k.Tasks) > 1 {
			return l, errors.New("a group without a body is only supported at the end of a chain")
		}
	}
	if len(k.Tasks) > 1 {
		err = b.addChain(last, k.Tasks[1:], after)
	}
	return l, err
}

// groupLink makes a link of a group, or of a chord.
func (b *builder) groupLink(s signature, id string, after []string) (l jobs.Link, err error) {
	var k struct {
		Tasks  []signature     `json:"tasks"`
		Header json.RawMessage `json:"header"`
		Body   *signature      `json:"body"`
	}
	if err := json.Unmarshal(s.Kwargs, &k); err != nil {
		return l, fmt.Errorf("group: %w", err)
	}
	groupID := s.Options.TaskID
	if s.Task == taskChord {
		groupID = ""
		var header signature
		if json.Unmarshal(k.Header, &header) == nil && header.Task == taskGroup {
			groupID = header.Options.TaskID
			err = json.Unmarshal(header.Kwargs, &k)
		} else {
			err = json.Unmarshal(k.Header, &k.Tasks)
		}
		if err != nil || k.Body == nil {
			return l, errors.New("the chord has no header or no body")
		}
	}
	if groupID == "" {
		groupID = id + "-group"
	}
	g := &jobs.NewGroup{ID: groupID, Members: make([]jobs.NewTask, len(k.Tasks))}
	l.Immutable, l.Results = true, ""
	for i, part := range k.Tasks {
		part.Options.Chord = nil // the group counts its members itself
		if part.Task == taskChain || part.Task == taskGroup || part.Task == taskChord {
			return l, fmt.Errorf("a part of a group in a chain cannot be a %s", part.Task)
		}
		if i > 0 && part.Immutable != k.Tasks[0].Immutable {
			return l, errors.New("the parts of a group in a chain are either all immutable or none")
		}
		if l.Immutable = part.Immutable; !l.Immutable {
			l.Results = jobs.ResultsPrepend
		}
		if g.Members[i], err = b.task(part, fmt.Sprintf("%s-%d", groupID, i), after, false); err != nil {
			return l, err
		}
	}
	l.Group = g
	if k.Body == nil {
		return l, nil
	}
	body, err := b.link(*k.Body, groupID+"-body", after, false)
	if err == nil && body.Group != nil {
		err = errors.New("the body of a chord in a chain cannot be a group")
	}
	if err != nil {
		return l, err
	}
	g.Callback, g.Immutable, g.Results = &body.NewTask, body.Immutable, jobs.ResultsList
	if g.Immutable {
		g.Results = ""
	}
	return l, nil
}

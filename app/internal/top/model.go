package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/prefork"
)

// panel is one of the three lists of the page.
type panel int

const (
	panelSlots panel = iota
	panelQueues
	panelTasks
	panels // number of lists
)

// model is what the page shows. It has one owner, the loop.
type model struct {
	opts     Options
	status   status
	rates    map[string]figures // by slot
	queues   []driver.Depth
	tasks    []*jobs.Task
	problems [panels]string // why a list cannot be read; empty: it can

	focus    panel
	lists    [panels]list
	typing   bool    // keys are text of the filter of the list in focus
	question *action // action to confirm, or nil
	message  string  // outcome of the last key, or empty
}

// list is the state of a list that keys change.
type list struct {
	selected string // key of the selected row; empty: the first row, whichever that is
	index    int    // its place when the page was last drawn or moved
	filter   string // only rows with this text; upper and lower case are the same
}

func newModel(o Options) *model {
	m := &model{opts: o, focus: panelTasks}
	for i := range m.problems {
		m.problems[i] = "loading"
	}
	return m
}

// row is a row of a list.
type row struct {
	key    string // identifies the row in later reads
	cells  []span
	detail string // shown below the lists while the row is selected
}

// text returns what a filter searches.
func (r row) text() string {
	words := make([]string, len(r.cells))
	for i, c := range r.cells {
		words[i] = c.text
	}
	return strings.ToLower(strings.Join(words, " "))
}

// rows returns the rows of a list that match its filter.
func (m *model) rows(p panel, now time.Time) []row {
	var all []row
	switch p {
	case panelSlots:
		for _, s := range m.status.Slots {
			all = append(all, m.slotRow(s))
		}
	case panelQueues:
		for _, d := range m.queues {
			all = append(all, queueRow(d))
		}
	case panelTasks:
		for _, t := range m.tasks {
			all = append(all, taskRow(t, now))
		}
	}
	filter := strings.ToLower(m.lists[p].filter)
	return slices.DeleteFunc(all, func(r row) bool { return !strings.Contains(r.text(), filter) })
}

// place returns the index of the selected row. If it has gone, that is the row that has taken
// its place, so that the selection does not jump.
func (l list) place(rows []row) int {
	if l.selected == "" {
		return 0
	}
	if i := slices.IndexFunc(rows, func(r row) bool { return r.key == l.selected }); i >= 0 {
		return i
	}
	return max(min(l.index, len(rows)-1), 0)
}

// selected returns the key of the selected row of a list, if the list has the focus and rows.
func (m *model) selected(p panel) (key string, ok bool) {
	rows := m.rows(p, time.Time{})
	if m.focus != p || len(rows) == 0 {
		return "", false
	}
	return rows[m.lists[p].place(rows)].key, true
}

// move moves the selection of the list in focus by a number of rows.
func (m *model) move(by int) {
	l := &m.lists[m.focus]
	rows := m.rows(m.focus, time.Time{})
	if len(rows) == 0 {
		return
	}
	l.index = max(min(l.place(rows)+by, len(rows)-1), 0)
	if l.selected = rows[l.index].key; l.index == 0 {
		l.selected = "" // so that new tasks stay in view
	}
}

// task returns the task with an id that rows has.
func (m *model) task(id string) *jobs.Task {
	return m.tasks[slices.IndexFunc(m.tasks, func(t *jobs.Task) bool { return t.ID == id })]
}

func (m *model) slotRow(s prefork.SlotStatus) row {
	t := tintBusy
	switch s.State {
	case prefork.StateLive:
		t = tintGood
	case prefork.StateBackoff, prefork.StateHung, prefork.StateStalled:
		t = tintBad
	}
	rates, ok := m.rates[s.Slot]
	if !ok {
		rates = figures{-1, -1}
	}
	detail := s.Slot + " has had no exit"
	if s.LastExit != "" {
		detail = s.Slot + ", last exit: " + s.LastExit
	}
	return row{s.Slot, []span{
		{s.Slot, tintPlain}, {string(s.State), t}, {fmt.Sprint(s.PID), tintPlain}, {fmt.Sprint(s.Restarts), tintPlain},
		{fmt.Sprint(s.Connections), tintPlain}, {optional("%.1f", rates.requests), tintPlain},
		{optional("%.0f%%", 100*rates.cpu), tintPlain}, {fmt.Sprintf("%.1f MiB", float64(s.RSS)/(1<<20)), tintPlain},
	}, detail}
}

func queueRow(d driver.Depth) row {
	state, detail := span{"active", tintGood}, "queue "+d.Queue
	if d.Paused {
		state = span{"paused", tintBusy}
	}
	if d.Broken != "" {
		state, detail = span{"broken", tintBad}, detail+": "+d.Broken
	}
	return row{d.Queue, []span{
		{d.Queue, tintPlain}, {fmt.Sprint(d.Waiting), tintPlain}, {fmt.Sprint(d.Running), tintPlain}, {fmt.Sprint(d.Scheduled), tintPlain},
		{fmt.Sprint(d.Dead), tintPlain}, {age(d.Oldest), tintPlain}, state,
	}, detail}
}

func taskRow(t *jobs.Task, now time.Time) row {
	tints := map[jobs.State]tint{
		jobs.StateSuccess: tintGood, jobs.StateRunning: tintBusy, jobs.StateRetrying: tintBusy, jobs.StateFailed: tintBad, jobs.StateDead: tintBad,
	}
	detail := []string{t.ID, fmt.Sprintf("attempt %d", t.Attempts)}
	for _, part := range []string{t.Worker, t.Note, t.Error} {
		if part != "" {
			detail = append(detail, part)
		}
	}
	return row{t.ID, []span{
		{t.ID, tintPlain}, {t.Name, tintPlain}, {t.Queue, tintPlain}, {string(t.State), tints[t.State]},
		{fmt.Sprintf("%d%%", t.Progress), tintPlain}, {age(now.Sub(t.Created)), tintPlain},
	}, strings.Join(detail, ", ")}
}

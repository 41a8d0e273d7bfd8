package top

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/gdamore/tcell/v2"

	"github.com/galeserver/gale/jobs/driver"
)

// verb is a change that the page can make.
type verb string

const (
	verbPause  verb = "pause"
	verbResume verb = "resume"
	verbRetry  verb = "retry"
	verbCancel verb = "cancel"
)

// action is a change of a queue or a task.
type action struct {
	verb   verb
	target string // name of the queue, or id of the task
}

// done returns the message after the change.
func (a action) done() string {
	switch a.verb {
	case verbPause:
		return "queue " + a.target + " is paused"
	case verbResume:
		return "queue " + a.target + " is resumed"
	case verbRetry:
		return "task " + a.target + " is queued again"
	}
	return "task " + a.target + " is cancelled"
}

// maxFilter is the largest length of a filter, in bytes.
const maxFilter = 64

// key changes the model after a key was pressed. It returns the action that the key asks for,
// and whether the key ends the page.
func (m *model) key(k *tcell.EventKey) (wanted *action, end bool) {
	if k.Key() == tcell.KeyCtrlC {
		return nil, true
	}
	m.message = ""
	switch {
	case m.question != nil:
		asked := m.question
		m.question = nil
		if k.Key() == tcell.KeyRune && (k.Rune() == 'y' || k.Rune() == 'Y') {
			return asked, false
		}
		m.message = "not cancelled"
		return nil, false
	case m.typing:
		m.typeFilter(k)
		return nil, false
	}
	switch k.Key() {
	case tcell.KeyTab:
		m.focus = (m.focus + 1) % panels
	case tcell.KeyBacktab:
		m.focus = (m.focus + panels - 1) % panels
	case tcell.KeyUp:
		m.move(-1)
	case tcell.KeyDown:
		m.move(1)
	case tcell.KeyPgUp:
		m.move(-10)
	case tcell.KeyPgDn:
		m.move(10)
	case tcell.KeyHome:
		m.move(-1 << 30)
	case tcell.KeyEnd:
		m.move(1 << 30)
	case tcell.KeyEscape:
		m.lists[m.focus].filter = ""
	case tcell.KeyRune:
		return m.letter(k.Rune())
	}
	return nil, false
}

func (m *model) letter(r rune) (wanted *action, end bool) {
	switch r {
	case 'q', 'Q':
		return nil, true
	case '/':
		m.typing = true
	case 'p':
		return m.pause(), false
	case 'r':
		return m.retry(), false
	case 'c':
		m.askCancel()
	}
	return nil, false
}

// typeFilter edits the filter of the list in focus.
func (m *model) typeFilter(k *tcell.EventKey) {
	filter := &m.lists[m.focus].filter
	switch k.Key() {
	case tcell.KeyEnter:
		m.typing = false
	case tcell.KeyEscape:
		m.typing, *filter = false, ""
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		_, size := utf8.DecodeLastRuneInString(*filter)
		*filter = (*filter)[:len(*filter)-size]
	case tcell.KeyRune:
		if unicode.IsPrint(k.Rune()) && len(*filter) < maxFilter {
			*filter += string(k.Rune())
		}
	}
}

// pause returns the change of the selected queue.
func (m *model) pause() *action {
	name, ok := m.selected(panelQueues)
	if !ok {
		m.message = "select a queue first: tab switches to the queues"
		return nil
	}
	i := slices.IndexFunc(m.queues, func(d driver.Depth) bool { return d.Queue == name })
	if m.queues[i].Paused {
		return &action{verbResume, name}
	}
	return &action{verbPause, name}
}

// retry returns the change of the selected task. The store refuses it if the task has not
// failed.
func (m *model) retry() *action {
	id, ok := m.selected(panelTasks)
	if !ok {
		m.message = "select a task first: tab switches to the tasks"
		return nil
	}
	return &action{verbRetry, id}
}

// askCancel asks before the selected task is cancelled.
func (m *model) askCancel() {
	id, ok := m.selected(panelTasks)
	if !ok {
		m.message = "select a task first: tab switches to the tasks"
		return
	}
	if t := m.task(id); t.State.Final() {
		m.message = "task " + id + " has ended already: " + string(t.State)
		return
	}
	m.question = &action{verbCancel, id}
}

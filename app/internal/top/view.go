package top

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// The smallest terminal in which the page fits.
const (
	minWidth  = 80
	minHeight = 16
)

// column is a column of a list.
type column struct {
	title string
	width int // 0: the room that the other columns leave
	right bool
}

var columns = [panels][]column{
	{{"SLOT", 0, false}, {"STATE", 8, false}, {"PID", 8, true}, {"RESTARTS", 8, true}, {"CONNS", 6, true}, {"REQ/S", 8, true}, {"CPU", 5, true}, {"MEMORY", 10, true}},
	{{"QUEUE", 0, false}, {"WAITING", 8, true}, {"RUNNING", 8, true}, {"SCHEDULED", 9, true}, {"DEAD", 8, true}, {"OLDEST", 6, true}, {"STATE", 6, false}},
	{{"TASK ID", 26, false}, {"NAME", 0, false}, {"QUEUE", 10, false}, {"STATE", 9, false}, {"DONE", 4, true}, {"AGE", 4, true}},
}

// keysHelp is the last line of the page.
const keysHelp = " q quit  tab switch  arrows move  p pause/resume  r retry  c cancel  / filter"

// view returns the lines of the page.
func (m *model) view(w, h int, now time.Time) []line {
	if w < minWidth || h < minHeight {
		return []line{{{fmt.Sprintf("%s needs a terminal of %d x %d, this one has %d x %d", m.opts.Title, minWidth, minHeight, w, h), tintPlain}}}
	}
	var rows [panels][]row
	var needs [panels]int
	for p := range panels {
		rows[p] = m.rows(p, now)
		needs[p] = max(len(rows[p]), 1)
	}
	// Each list has a heading and a blank line; the title and two lines below are left.
	heights := share(h-3-2*int(panels), needs)
	lines := []line{{{fit(m.title(), w, false), tintSelected}}}
	for p := range panels {
		lines = append(lines, heading(p, m.focus == p, w))
		lines = append(lines, m.window(p, rows[p], heights[p], w)...)
		lines = append(lines, line{})
	}
	return append(lines, line{{fit(m.bottom(rows[m.focus]), w, false), tintPlain}}, line{{fit(keysHelp, w, false), tintHeading}})
}

// share divides a height among the lists: at most a third for slots, a quarter for queues and
// the rest for tasks, but no list leaves lines empty that another one needs.
func share(height int, needs [panels]int) (heights [panels]int) {
	heights[panelSlots] = min(needs[panelSlots], height/3)
	heights[panelQueues] = min(needs[panelQueues], height/4)
	spare := max(height-heights[panelSlots]-heights[panelQueues]-needs[panelTasks], 0)
	more := min(spare, needs[panelSlots]-heights[panelSlots])
	heights[panelSlots] += more
	heights[panelQueues] += min(spare-more, needs[panelQueues]-heights[panelQueues])
	heights[panelTasks] = height - heights[panelSlots] - heights[panelQueues]
	return heights
}

func (m *model) title() string {
	words := []string{" " + m.opts.Title}
	if s := m.status; s.PID != 0 {
		words = append(words, s.Version, fmt.Sprintf("pid %d", s.PID))
		switch {
		case s.Stopping:
			words = append(words, "stopping")
		case s.Reloading:
			words = append(words, "reloading")
		case s.ReloadFailed != "":
			words = append(words, "reload failed: see server status")
		}
	}
	if m.opts.Address != "" {
		words = append(words, m.opts.Address)
	}
	return strings.Join(words, "  ")
}

// heading returns the column titles of a list.
func heading(p panel, focus bool, w int) line {
	cells := make([]span, len(columns[p]))
	for i, c := range columns[p] {
		cells[i].text = c.title
	}
	t := tintPlain
	if focus {
		t = tintHeading
	}
	return line{{join(p, cells, w).String(), t}}
}

// join puts cells into the columns of a list. The first two columns of the screen are for a
// mark.
func join(p panel, cells []span, w int) line {
	room := w - 2
	for _, c := range columns[p] {
		room -= c.width + 1
	}
	l := line{{"  ", tintPlain}}
	for i, c := range columns[p] {
		width := c.width
		if width == 0 {
			width = room + 1
		}
		if i > 0 {
			l = append(l, span{" ", tintPlain})
		}
		l = append(l, span{fit(cells[i].text, width, c.right), cells[i].tint})
	}
	return l
}

// window returns the lines of a list, with the part around the selected row.
func (m *model) window(p panel, rows []row, height, w int) []line {
	lines := make([]line, height)
	l := &m.lists[p]
	if len(rows) == 0 {
		text := []string{"no slots", "no queues with tasks", "no tasks"}[p]
		if l.filter != "" {
			text = fmt.Sprintf("nothing matches the filter %q; esc removes it", l.filter)
		}
		text = cmp.Or(m.problems[p], text)
		lines[0] = line{{"  " + fit(text, w-2, false), tintPlain}}
		return lines
	}
	l.index = l.place(rows)
	if l.selected != "" {
		l.selected = rows[l.index].key
	}
	first := max(min(l.index-height/2, len(rows)-height), 0)
	for i := range lines {
		if first+i >= len(rows) {
			break
		}
		lines[i] = join(p, rows[first+i].cells, w)
		if first+i == l.index && p == m.focus {
			lines[i] = line{{">" + lines[i].String()[1:], tintSelected}}
		}
	}
	return lines
}

// bottom returns the line above the keys: a question, the filter, the outcome of the last key,
// or details of the selected row.
func (m *model) bottom(rows []row) string {
	l := m.lists[m.focus]
	switch {
	case m.question != nil:
		return " cancel task " + m.question.target + "? y/n"
	case m.typing:
		return " filter: " + l.filter + "_   enter keeps it, esc removes it"
	case m.message != "":
		return " " + m.message
	case len(rows) == 0:
		return ""
	case l.filter != "":
		return fmt.Sprintf(" filter %q: %s", l.filter, rows[l.place(rows)].detail)
	}
	return " " + rows[l.place(rows)].detail
}

// Package top shows the slots, queues and newest tasks of a server in a terminal, and
// changes queues and tasks by keys.
package top

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gdamore/tcell/v2"
	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/pool"
)

// Store is what the page needs of a task store.
type Store interface {
	driver.Gauger
	jobs.Changer
	List(ctx context.Context, q jobs.Query) (*jobs.Page, error)
	Close() error
}

// Options configure a page.
type Options struct {
	// Title is the name of the command.
	Title string
	// Address is the address of the admin endpoint. Empty: it is off.
	Address string
	// Admin requests a page of the admin endpoint.
	Admin func(ctx context.Context, page string) (code int, body []byte, err error)
	// Open opens the task store. It is called again after it has failed.
	Open func(ctx context.Context) (Store, error)
	// Interval is the time between two reads of the server. Default: one second.
	Interval time.Duration
}

// Run shows the page on a screen that is not initialized, until a key ends it or ctx is done.
// When it returns, also by a panic, the terminal is as it was before.
func Run(ctx context.Context, screen tcell.Screen, o Options) (err error) {
	o.Interval = cmp.Or(o.Interval, time.Second)
	if err := screen.Init(); err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	background, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	events, quit := make(chan tcell.Event), make(chan struct{})
	defer func() {
		cancel()
		screen.Fini() // before Wait, so that the terminal is restored at once
		close(quit)
		if failed := background.Wait(); failed != nil {
			err = failed
		}
	}()
	updates, actions := make(chan update), make(chan action, 1)
	background.Go(func() error {
		screen.ChannelEvents(events, quit)
		return nil
	})
	background.Go(func() error { return pool.Protect(func() error { return newAdminReader(o).run(ctx, updates) }) })
	background.Go(func() error {
		return pool.Protect(func() error { return (&storeReader{opts: o}).run(ctx, updates, actions) })
	})
	loop(ctx, screen, o, events, updates, actions)
	return nil
}

// loop owns the model: it applies updates and keys and draws the page after each of them.
func loop(ctx context.Context, screen tcell.Screen, o Options, events <-chan tcell.Event, updates <-chan update, actions chan<- action) {
	m := newModel(o)
	for {
		width, height := screen.Size()
		draw(screen, m.view(width, height, time.Now()))
		select {
		case <-ctx.Done():
			return
		case change := <-updates:
			change(m)
		case event := <-events:
			switch event := event.(type) {
			case nil: // the terminal is gone
				return
			case *tcell.EventResize:
				screen.Sync()
			case *tcell.EventKey:
				wanted, end := m.key(event)
				if end {
					return
				}
				if wanted == nil {
					continue
				}
				select {
				case actions <- *wanted:
				default:
					m.message = "the task store has not responded to the last change yet"
				}
			}
		}
	}
}

// draw shows lines on the screen.
func draw(screen tcell.Screen, lines []line) {
	screen.Clear()
	for y, l := range lines {
		x := 0
		for _, s := range l {
			screen.PutStrStyled(x, y, s.text, s.tint.style())
			x += width(s.text)
		}
	}
	screen.Show()
}

// style returns the style of a tint. Without colours (NO_COLOR, https://no-color.org, or a
// terminal that has none), tcell omits the colour.
func (t tint) style() tcell.Style {
	plain := tcell.StyleDefault
	switch t {
	case tintHeading:
		return plain.Bold(true)
	case tintSelected:
		return plain.Reverse(true)
	case tintGood:
		return plain.Foreground(tcell.ColorGreen)
	case tintBusy:
		return plain.Foreground(tcell.ColorYellow)
	case tintBad:
		return plain.Foreground(tcell.ColorRed)
	}
	return plain
}

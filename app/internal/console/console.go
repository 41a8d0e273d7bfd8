// Package console is the page that shows what a Gale server does, and what keeps
// it up to date.
//
//	task store ──List, Depth──┐
//	                          ├─► Console ──frames──► every open page
//	admin endpoint ──/status, /metrics──┘  once a second, while there is a page
//
// A process looks once for all of its pages, and not at all while it has none.
// What it saw goes out as frames, one for each part of the page, and only those
// that a page does not have; one that opens gets all of them. So a page that has lost
// its process goes on at any other, with nothing to be resumed.
package console

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/server/realtime"
)

const (
	// DefaultInterval is how often a process looks, unless that takes longer than
	// a tenth of it.
	DefaultInterval = time.Second
	// slowest is how far apart two looks are at most.
	slowest = 10 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 5 * time.Second
)

// Tasks is what a Console shows of a task store.
type Tasks interface {
	driver.Gauger
	// List is jobs.Store's.
	List(ctx context.Context, q jobs.Query) (*jobs.Page, error)
}

// Options configure a Console. The zero value is the documented default.
type Options struct {
	// Ask fetches a page of the master's admin endpoint, such as /status, and
	// returns the HTTP status, too. Nil: there is none, and the page says so.
	Ask func(ctx context.Context, page string) (code int, body []byte, err error)
	// Login says that people log in here, and may want to log out.
	Login bool
	// Description says that the server has an OpenAPI description, which the page links.
	Description bool
	// Interval is how often a process looks. Default DefaultInterval.
	Interval time.Duration
	// Logger is told, at level debug, of pages that come and go. Nil: nobody.
	Logger *slog.Logger
}

// Console are the pages that are open at one process. Make one with New, and Run
// it once.
type Console struct {
	tasks Tasks
	opts  Options
	first chan struct{} // there is a page, where there was none

	mu    sync.Mutex
	pages map[viewer]frames // what each has
	last  frames            // empty while there is no page
}

// viewer is the WebSocket of a page.
type viewer interface {
	Send(ctx context.Context, m realtime.Message) error
}

// New makes a Console with no pages.
func New(tasks Tasks, o Options) *Console {
	o.Interval = cmp.Or(max(o.Interval, 0), DefaultInterval)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Console{tasks: tasks, opts: o, first: make(chan struct{}, 1), pages: make(map[viewer]frames)}
}

// Run looks and tells the pages until ctx ends. It returns nil.
func (c *Console) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.first:
		}
		for c.Len() > 0 {
			began := time.Now()
			c.tell(c.look(ctx))
			// Where looking is hard, because the store or the machine is busy, it
			// must not be what keeps them so.
			timer.Reset(min(max(c.opts.Interval-time.Since(began), 9*time.Since(began)), slowest))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		c.forget()
	}
}

// Len returns how many pages are open.
func (c *Console) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pages)
}

// tell sends all pages the frames that they do not have.
func (c *Console) tell(now frames) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	for page, has := range c.pages {
		c.pages[page] = send(page, now, has)
	}
}

// enter shows a page what is known, and has it told of the rest.
func (c *Console) enter(v viewer) (pages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages[v] = send(v, c.last, frames{})
	select {
	case c.first <- struct{}{}:
	default: // Run knows already
	}
	return len(c.pages)
}

// leave forgets a page.
func (c *Console) leave(v viewer) (pages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pages, v)
	return len(c.pages)
}

// forget drops what was seen if there is still nobody to be shown it: the next
// page must not begin with what is old.
func (c *Console) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pages) == 0 {
		c.last = frames{}
	}
}

// Package console serves the console, a web page that shows the state of a server and is
// updated once per second.
//
//	task store ──List, Depth──┐
//	                          ├─► Console ──frames──► every open page
//	admin endpoint ──/status, /metrics──┘  once a second, while there is a page
//
// A process reads the state once for all of its open pages, and not at all without one. It
// sends the state in frames, one for each part of the page, and only frames that have
// changed. A new page gets all frames, so a page can reconnect to any process.
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
	// DefaultInterval is the default interval at which the state is read. It grows if
	// reading takes longer than a tenth of it.
	DefaultInterval = time.Second
	// maxInterval is the longest interval.
	maxInterval = 10 * time.Second
	// collectTimeout is the timeout for reading the state once.
	collectTimeout = 5 * time.Second
)

// Tasks is the part of a task store that a Console reads.
type Tasks interface {
	driver.Gauger
	// List is jobs.Store's.
	List(ctx context.Context, q jobs.Query) (*jobs.Page, error)
}

// Options configure a Console.
type Options struct {
	// GetAdmin requests a page of the master's admin endpoint, such as /status, and
	// returns the status and the body of the response. It is nil if the endpoint is off.
	GetAdmin func(ctx context.Context, page string) (code int, body []byte, err error)
	// Login is true if users log in, so that the page shows a button to log out.
	Login bool
	// Description is true if the server has an OpenAPI description, which the page links.
	Description bool
	// TraceLink is the URL of a trace, with {id} for the trace id. Empty if the page shows only
	// the id.
	TraceLink string
	// Interval is the interval at which the state is read. Default: DefaultInterval.
	Interval time.Duration
	// Logger logs opened and closed pages at level debug. Default: none.
	Logger *slog.Logger
}

// Console holds the open pages of one process. Create it with New and call Run once.
type Console struct {
	tasks Tasks
	opts  Options
	first chan struct{} // capacity 1: signals that a page was opened
	past  pastLoad

	mu    sync.Mutex
	pages map[viewer]frames // frames that each page has received
	last  frames            // latest state; empty while no page is open
}

// viewer is the WebSocket of a page.
type viewer interface {
	Send(ctx context.Context, m realtime.Message) error
}

// New returns a Console without pages.
func New(tasks Tasks, o Options) *Console {
	o.Interval = cmp.Or(max(o.Interval, 0), DefaultInterval)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Console{tasks: tasks, opts: o, first: make(chan struct{}, 1), past: pastLoad{turn: make(chan struct{}, 1)}, pages: make(map[viewer]frames)}
}

// Run updates the pages until ctx is done. It returns nil.
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
			c.sendAll(c.collect(ctx))
			// If the task store or the machine is busy, the console must not add to the
			// load: it spends at most a tenth of the time on reading.
			timer.Reset(min(max(c.opts.Interval-time.Since(began), 9*time.Since(began)), maxInterval))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		c.clear()
	}
}

// Len returns the number of open pages.
func (c *Console) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pages)
}

// sendAll sends all pages the frames that they do not have.
func (c *Console) sendAll(now frames) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	for page, has := range c.pages {
		c.pages[page] = send(page, now, has)
	}
}

// addPage adds a page, sends it the latest state and signals Run.
func (c *Console) addPage(v viewer) (pages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages[v] = send(v, c.last, frames{})
	select {
	case c.first <- struct{}{}:
	default: // Run has been signalled
	}
	return len(c.pages)
}

// removePage removes a page.
func (c *Console) removePage(v viewer) (pages int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pages, v)
	return len(c.pages)
}

// clear drops the latest state if no page is open, so that the next page does not get old
// data.
func (c *Console) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pages) == 0 {
		c.last = frames{}
	}
}

package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

const (
	// overrun is the time after the time limit of an attempt in which its worker must end
	// it. Then the server ends the attempt.
	overrun = 30 * time.Second
	// minTry is the time that a Lease without waiting has to find a task.
	minTry = 250 * time.Millisecond
	// storeTimeout is the time limit of changes that no worker waits for.
	storeTimeout = 5 * time.Second
	// elsewhereDelay is the delay of a task that another version of the program accepts.
	elsewhereDelay = time.Second
	maxQueues      = 100
)

// LeaseRequest asks for tasks.
type LeaseRequest struct {
	Session string `json:"session"`
	// Queues are the queues in order of priority; default: the queue "default".
	Queues []string `json:"queues"`
	Max    int      `json:"max"`  // largest number of leases; default 1
	Wait   *float64 `json:"wait"` // seconds to wait for a task; default 25, at most 50
	// Holds are the leases that the worker holds. All others of its session are released.
	Holds []string `json:"holds"`
}

// LeaseResponse is the response to Lease.
type LeaseResponse struct {
	Leases []Leased `json:"leases"`
}

// Leased is a task to run.
type Leased struct {
	Lease string     `json:"lease"`
	Task  *jobs.Task `json:"task"`
	// Retries is the number of failed attempts before this one. Lost and released attempts
	// do not count.
	Retries int `json:"retries"`
	// Timeout and SoftTimeout are time limits in seconds, from now; 0 is none.
	Timeout     float64 `json:"timeout"`
	SoftTimeout float64 `json:"soft_timeout"`
	// Headers are those of the task, a JSON object, or null. With Options.TracerProvider, traceparent
	// in them is the span of the attempt.
	Headers json.RawMessage `json:"headers"`
}

var (
	errNextCall = errors.New("another lease call of the session has begun")
	errLeaving  = errors.New("the process is draining")
)

// Lease waits until a task is due for the worker. It returns no leases if the time is up,
// if Drain is called, or if another Lease of the session begins. If ctx ends because the
// worker has gone, the tasks are released. Errors are of the type Error.
func (s *Service) Lease(ctx context.Context, r LeaseRequest) (LeaseResponse, error) {
	empty := LeaseResponse{Leases: []Leased{}}
	wait, keep, err := r.check()
	if err != nil {
		return empty, s.explain(err)
	}
	c, err := s.contactOf(ctx, r.Session)
	if err != nil {
		return empty, s.explain(err)
	}
	if s.leaving.Err() != nil {
		return empty, nil
	}
	ctx, end := s.beginLease(ctx, c)
	defer end()
	current, err := s.declare(ctx, r, keep)
	if err != nil {
		if ctx.Err() != nil {
			return empty, nil
		}
		return empty, s.explain(err)
	}
	waiting, cancel := context.WithTimeout(ctx, max(wait, minTry))
	defer cancel()
	leases, err := s.store.Lease(waiting, driver.LeaseRequest{
		Owner: r.Session, Queues: r.Queues, Names: c.announcement.names, Rates: c.announcement.rates, Max: r.Max,
	})
	if err != nil {
		if waiting.Err() != nil {
			return empty, nil
		}
		return empty, s.explain(err)
	}
	leases = s.elsewhere(ctx, c, leases)
	if len(leases) > 0 && !s.isCurrent(ctx, r.Session, current) {
		s.giveBack(ctx, leases)
		return empty, nil
	}
	for _, l := range leases {
		empty.Leases = append(empty.Leases, s.leased(ctx, c, l))
	}
	return empty, nil
}

// check sets the defaults of a request.
func (r *LeaseRequest) check() (wait time.Duration, keep []*driver.Lease, err error) {
	if r.Max == 0 {
		r.Max = 1
	}
	if len(r.Queues) == 0 {
		r.Queues = []string{jobs.DefaultQueue}
	}
	switch {
	case r.Max < 0 || r.Max > MaxEntries:
		return 0, nil, invalid("max: %d is not between 1 and %d", r.Max, MaxEntries)
	case len(r.Queues) > maxQueues:
		return 0, nil, invalid("queues: %d queues; at most %d are allowed", len(r.Queues), maxQueues)
	}
	for _, q := range r.Queues {
		if !jobs.ValidID(q) {
			return 0, nil, invalid("queues: %q: use 1 to 128 letters, digits, dots, underscores and hyphens", q)
		}
	}
	if wait, err = waitOf(r.Wait); err != nil {
		return 0, nil, err
	}
	held, err := holdsOf(r.Holds)
	for _, h := range held {
		if h.session == r.Session {
			keep = append(keep, h.lease())
		}
	}
	return wait, keep, err
}

// holdsOf decodes the leases that a worker holds.
func holdsOf(holds []string) (all []leaseID, err error) {
	if len(holds) > MaxEntries {
		return nil, invalid("holds: %d leases; at most %d are allowed", len(holds), MaxEntries)
	}
	for _, text := range holds {
		l, err := parseLease(text)
		if err != nil {
			return nil, invalid("holds: %q is not the id of a lease", text)
		}
		all = append(all, l)
	}
	return all, nil
}

// beginLease ends the lease call of the session that this process serves, if there is one,
// and waits for its end. The returned context ends with ctx, with the next call of the
// session, or with Drain.
func (s *Service) beginLease(ctx context.Context, c *contact) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.leaving, func() { cancel(errLeaving) })
	done := make(chan struct{})
	c.mu.Lock()
	earlier, earlierDone := c.endLease, c.leaseDone
	c.endLease, c.leaseDone = cancel, done
	c.mu.Unlock()
	if earlier != nil {
		earlier(errNextCall)
		select {
		case <-earlierDone:
		case <-ctx.Done():
		}
	}
	return ctx, func() {
		stop()
		cancel(nil)
		close(done)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leaseDone == done {
			c.endLease, c.leaseDone = nil, nil
		}
	}
}

// declare makes this the current lease call of the session in all processes, and releases
// the leases of calls whose responses were lost. It returns the id of the call.
func (s *Service) declare(ctx context.Context, r LeaseRequest, keep []*driver.Lease) (id string, err error) {
	// The order matters: a call in another process that leases a task after the release
	// finds the new id and releases the task itself.
	id = jobs.NewID()
	if err := putJSON(ctx, s.store, callKind, r.Session, call{ID: id, Queues: r.Queues}, sessionKeep); err != nil {
		return "", err
	}
	n, err := s.store.ReleaseOthers(ctx, r.Session, keep)
	if n > 0 {
		s.log.Info("tasks released: the worker does not know their leases, because a response was lost", "session", r.Session, "tasks", n)
	}
	return id, err
}

// isCurrent reports whether the worker still waits for this call.
func (s *Service) isCurrent(ctx context.Context, session, id string) bool {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errLeaving) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	var last call
	err := getJSON(ctx, s.store, callKind, session, &last)
	return err == nil && last.ID == id
}

// giveBack releases leases that no worker has got.
func (s *Service) giveBack(ctx context.Context, leases []*driver.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for _, l := range leases {
		if err := s.store.Release(ctx, l); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
			s.log.Warn("cannot release the task; it is due again when its lease expires", "task", l.Task.Name, "id", l.Task.ID, "error", err)
		}
	}
}

// elsewhere releases the tasks whose arguments this version of the program does not accept,
// but another live one does, and returns the others.
func (s *Service) elsewhere(ctx context.Context, c *contact, leases []*driver.Lease) (mine []*driver.Lease) {
	for _, l := range leases {
		if c.announcement.byName[l.Task.Name].Accepts(l.Task) == nil || !s.acceptedElsewhere(ctx, l.Task) {
			mine = append(mine, l)
			continue
		}
		if _, err := s.store.End(context.WithoutCancel(ctx), l, driver.Ending{Kind: driver.EndReleased, At: time.Now().Add(elsewhereDelay)}); err != nil {
			s.log.Warn("cannot release the task; it is due again when its lease expires", "task", l.Task.Name, "id", l.Task.ID, "error", err)
		}
	}
	return mine
}

func (s *Service) acceptedElsewhere(ctx context.Context, t *jobs.Task) bool {
	all, err := s.tasks.Announced(ctx, t.Name, false)
	for _, d := range all {
		if d.Accepts(t) == nil {
			return true
		}
	}
	return err != nil
}

// leased returns a lease for the worker and counts the start of the attempt.
func (s *Service) leased(ctx context.Context, c *contact, l *driver.Lease) Leased {
	id := leaseID{session: l.Owner, attempt: l.Attempt, task: l.Task.ID}
	if l.Task.Timeout > 0 { // not from Started, which is a time of the store's clock
		id.deadline = time.Now().Add(l.Task.Timeout + overrun)
	}
	s.opt.Meter.Count(meter.EventStarted, l.Task.Name, l.Task.Queue)
	ctx = s.traced(ctx, l.Task, l)
	s.log.InfoContext(ctx, "task started", "task", l.Task.Name, "id", l.Task.ID, "attempt", l.Attempt, "queue", l.Task.Queue, "worker", l.Owner)
	return Leased{
		Lease: id.String(), Task: l.Task, Retries: len(l.Task.Failures),
		Timeout: l.Task.Timeout.Seconds(), SoftTimeout: c.announcement.soft[l.Task.Name], Headers: s.headers(ctx, l.Task),
	}
}

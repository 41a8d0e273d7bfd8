package workerapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/internal/clockset"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// ExtendRequest prolongs leases.
type ExtendRequest struct {
	Session string   `json:"session"`
	Holds   []string `json:"holds"`
	// Wait is the time to wait until one of Holds is lost or cancelled, in seconds; default
	// 25, at most 50. A response comes after 25 seconds at the latest, so that the worker
	// prolongs the leases again before they end.
	Wait *float64 `json:"wait"`
}

// ExtendResponse lists the leases whose attempts the worker must end.
type ExtendResponse struct {
	Lost      []string `json:"lost"`      // another worker may run the task, or it has timed out
	Cancelled []string `json:"cancelled"` // the task was cancelled
}

func (r ExtendResponse) empty() bool { return len(r.Lost)+len(r.Cancelled) == 0 }

// Extend prolongs leases for TTL. Then it waits until one of them is lost or cancelled, the
// time is up, ctx ends or Drain is called. Leases that the worker ends meanwhile are not
// reported. An attempt that has run longer than its time limit and 30 seconds is ended as
// timed out. Errors are of the type Error.
func (s *Service) Extend(ctx context.Context, r ExtendRequest) (ExtendResponse, error) {
	none := ExtendResponse{Lost: []string{}, Cancelled: []string{}}
	wait, err := waitOf(r.Wait)
	if err != nil {
		return none, s.explain(err)
	}
	holds, err := holdsOf(r.Holds)
	if err != nil {
		return none, s.explain(err)
	}
	c, err := s.contactOf(ctx, r.Session)
	if err != nil {
		return none, s.explain(err)
	}
	now := time.Now()
	over := c.overdue(holds, now, clockset.Step(s.began, now))
	response, err := s.extend(ctx, r.Session, holds, over, min(wait, DefaultWait))
	if err != nil {
		return none, s.explain(err)
	}
	return response, nil
}

func (s *Service) extend(ctx context.Context, session string, holds []leaseID, over map[leaseID]bool, wait time.Duration) (ExtendResponse, error) {
	response := ExtendResponse{Lost: []string{}, Cancelled: []string{}}
	ids := map[*driver.Lease]leaseID{}
	var leases []*driver.Lease
	for _, id := range holds {
		l := id.lease()
		switch {
		case id.session != session:
			response.Lost = append(response.Lost, id.String())
			continue
		case over[id]:
			if err := s.timeOut(ctx, l); err != nil {
				return response, err
			}
		}
		ids[l], leases = id, append(leases, l)
	}
	lost, err := s.store.Extend(ctx, leases)
	if err != nil {
		return response, err
	}
	if err := s.classify(ctx, lost, ids, &response); err != nil || !response.empty() || wait == 0 {
		return response, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(s.leaving, cancel)()
	for response.empty() && ctx.Err() == nil {
		for _, l := range lost {
			delete(ids, l)
		}
		lost = s.watch.await(ctx, ids)
		err := s.classify(context.WithoutCancel(ctx), lost, ids, &response)
		if err != nil {
			return response, err
		}
	}
	return response, nil
}

// classify adds leases that are not current to the response, except those that the worker
// has ended itself.
func (s *Service) classify(ctx context.Context, lost []*driver.Lease, ids map[*driver.Lease]leaseID, response *ExtendResponse) error {
	for _, l := range lost {
		t, err := s.store.Get(ctx, l.Task.ID)
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return err
		}
		id := ids[l].String()
		switch {
		case err != nil:
			response.Lost = append(response.Lost, id)
		case t.State == jobs.StateCancelled && l.IsLast(t):
			if _, own := driver.EndedState(t.Ended, l); !own {
				response.Cancelled = append(response.Cancelled, id)
			}
		default:
			if _, own := driver.EndedState(t.Ended, l); !own {
				response.Lost = append(response.Lost, id)
			}
		}
	}
	return nil
}

// timeOut ends an attempt whose worker has not ended it in time.
func (s *Service) timeOut(ctx context.Context, l *driver.Lease) error {
	t, err := s.store.Get(ctx, l.Task.ID)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !l.Holds(t) {
		return nil
	}
	o, err := s.outcome(t, jobs.StateRetrying, nil, fmt.Sprintf("timed out after %v, and its worker did not stop it", t.Timeout), nil)
	if err != nil {
		return err
	}
	s.follow(ctx, t, l, &o)
	err = s.store.Finish(ctx, l, o)
	if errors.Is(err, jobs.ErrLeaseLost) {
		return nil
	}
	if err != nil {
		return err
	}
	s.span(t, l, string(o.State), o.Error)
	s.log.WarnContext(s.traced(ctx, t, l), "attempt ended: its worker did not stop it after its time limit", "task", t.Name, "id", t.ID, "attempt", l.Attempt, "worker", l.Owner, "state", o.State)
	s.opt.Meter.Count(meter.EventLeaseLost, t.Name, t.Queue)
	s.opt.Meter.Count(driver.EventOf(o.State), t.Name, t.Queue)
	return nil
}

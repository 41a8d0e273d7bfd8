package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Kinds of records.
const (
	sessionKind      = "worker-session"
	callKind         = "worker-call"
	announcementKind = "worker-announcement"
)

const (
	// sessionKeep is the time for which a session exists after the last call of its worker.
	// It is longer than MaxWait and touchEvery together.
	sessionKeep = 2 * time.Minute
	// touchEvery is the interval at which a process prolongs the record of a session.
	touchEvery = 20 * time.Second
	// AnnouncementKeep is the time for which an announcement exists after the last call of
	// its last session.
	AnnouncementKeep = 7 * 24 * time.Hour
	// announceEvery is the interval at which a process prolongs an announcement.
	announceEvery = time.Hour
)

// session is a record of sessionKind. It does not change.
type session struct {
	Worker       string    `json:"worker"`
	Version      string    `json:"version"`
	Announcement string    `json:"announcement"` // key of its record
	Started      time.Time `json:"started"`
}

// call is a record of callKind: the last lease call of a session.
type call struct {
	ID     string   `json:"id"` // random
	Queues []string `json:"queues"`
}

// contact is what a process knows of a session.
type contact struct {
	session      session
	announcement *announcement

	mu        sync.Mutex
	seen      time.Time // last call
	touched   time.Time // last time at which this process prolonged the record
	announced time.Time // last time at which it prolonged the announcement
	endLease  context.CancelCauseFunc
	leaseDone chan struct{} // closed when the lease call that endLease ends has returned

	// ends are the deadlines of the leases in the last extend call, by the monotonic clock.
	ends map[leaseID]time.Time
}

// overdue returns those of the leases whose deadline has passed. The wall clock counts only when
// this process sees a lease for the first time. set is by how much it was set forward since the
// start of the process: a deadline from before that has not passed yet.
func (c *contact) overdue(holds []leaseID, now time.Time, set time.Duration) map[leaseID]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends, over := map[leaseID]time.Time{}, map[leaseID]bool{}
	for _, id := range holds {
		if id.deadline.IsZero() {
			continue
		}
		end, known := c.ends[id]
		if !known {
			left := id.deadline.Sub(now)
			if left < 0 {
				left += max(set, 0)
			}
			end = now.Add(left)
		}
		ends[id] = end
		if now.After(end) {
			over[id] = true
		}
	}
	c.ends = ends
	return over
}

// contactOf returns the session with an id and prolongs it. The error is errNoSession if
// there is none.
func (s *Service) contactOf(ctx context.Context, id string) (*contact, error) {
	if !validSession(id) {
		return nil, errNoSession
	}
	s.mu.Lock()
	c := s.known[id]
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = s.readContact(ctx, id); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if first := s.known[id]; first != nil { // a concurrent call was faster
			c = first
		} else {
			s.known[id] = c
		}
		s.mu.Unlock()
	}
	return c, s.touch(ctx, id, c)
}

func (s *Service) readContact(ctx context.Context, id string) (*contact, error) {
	c := &contact{}
	err := getJSON(ctx, s.store, sessionKind, id, &c.session)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil, errNoSession
	}
	if err != nil {
		return nil, err
	}
	if c.announcement, err = s.tasks.read(ctx, c.session.Announcement); errors.Is(err, jobs.ErrNotFound) {
		return nil, errNoSession
	}
	return c, err
}

// touch prolongs the records of a session, at most once in touchEvery. A session whose
// record has ended stays ended: another process may have removed it.
func (s *Service) touch(ctx context.Context, id string, c *contact) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.seen = now
	if now.Sub(c.touched) < touchEvery {
		return nil
	}
	if _, err := s.store.Record(ctx, sessionKind, id); err != nil {
		if errors.Is(err, jobs.ErrNotFound) {
			s.drop(id)
			return errNoSession
		}
		return err
	}
	if err := putJSON(ctx, s.store, sessionKind, id, c.session, sessionKeep); err != nil {
		return err
	}
	c.touched = now
	if now.Sub(c.announced) < announceEvery {
		return nil
	}
	c.announced = now
	return s.store.PutRecord(ctx, announcementKind, driver.Record{Key: c.session.Announcement, Value: c.announcement.text}, AnnouncementKeep)
}

func (s *Service) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, id)
}

// forget removes sessions from memory that this process has not served lately, until ctx
// ends.
func (s *Service) forget(ctx context.Context) {
	for sleep.For(ctx, sessionKeep); ctx.Err() == nil; sleep.For(ctx, sessionKeep) {
		s.mu.Lock()
		for id, c := range s.known {
			c.mu.Lock()
			if time.Since(c.seen) > sessionKeep && c.endLease == nil {
				delete(s.known, id)
			}
			c.mu.Unlock()
		}
		s.mu.Unlock()
	}
}

func putJSON(ctx context.Context, store driver.Keeper, kind, key string, v any, keep time.Duration) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", kind, key, err)
	}
	return store.PutRecord(ctx, kind, driver.Record{Key: key, Value: text}, keep)
}

func getJSON(ctx context.Context, store driver.Keeper, kind, key string, into any) error {
	text, err := store.Record(ctx, kind, key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode %s %s: %w", kind, key, err)
	}
	return nil
}

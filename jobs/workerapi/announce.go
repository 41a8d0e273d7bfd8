package workerapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

const (
	maxTasks   = 1000     // tasks of an announcement
	maxSchema  = 64 << 10 // bytes of a schema
	maxVersion = 200      // bytes of a version
)

// AnnounceRequest describes a worker and its tasks.
type AnnounceRequest struct {
	// Worker is the name of the worker for people, at most 100 bytes of UTF-8.
	Worker  string `json:"worker"`
	Version string `json:"version"` // of the program, at most 200 bytes
	Tasks   []Task `json:"tasks"`
	// Replaces is a session whose worker is known to be dead, or empty. Its leases are lost
	// at once.
	Replaces string `json:"replaces"`
}

// Task describes a task of a worker. All fields but Name may be left out.
type Task struct {
	Name string `json:"name"`
	// Schema is the JSON Schema of the arguments, see jobs.Foreign.
	Schema     json.RawMessage `json:"schema,omitempty"`
	Queue      string          `json:"queue,omitempty"`       // default queue of the task
	MaxRetries int             `json:"max_retries,omitempty"` // default of the task
	Timeout    float64         `json:"timeout,omitempty"`     // default of the task, in seconds; 0 is none
	// SoftTimeout is the time after which the worker interrupts the task, in seconds; 0 is
	// never.
	SoftTimeout float64 `json:"soft_timeout,omitempty"`
	// Rate limits how many attempts start, over all workers, such as 10/m.
	Rate string `json:"rate,omitempty"`
}

// AnnounceResponse is the response to Announce.
type AnnounceResponse struct {
	Session string  `json:"session"`
	TTL     float64 `json:"ttl"` // seconds, see TTL
	Limits  Limits  `json:"limits"`
}

// Limits are the limits of requests, in bytes; those of entries and leases are numbers.
type Limits struct {
	Result   int     `json:"result"`
	Error    int     `json:"error"`
	Log      int     `json:"log"`
	Note     int     `json:"note"`
	Meta     int     `json:"meta"`
	Body     int     `json:"body"`
	Artifact int64   `json:"artifact"` // 0: no limit
	Entries  int     `json:"entries"`
	Wait     float64 `json:"wait"` // seconds
}

// announcement is a record of announcementKind. Its key is the digest of version and tasks.
type announcement struct {
	At      time.Time `json:"at"` // time of the last Announce
	Version string    `json:"version"`
	Tasks   []Task    `json:"tasks"`

	key    string
	text   []byte // the encoded record
	names  []string
	rates  map[string]jobs.Rate
	byName map[string]jobs.Definition
	soft   map[string]float64
}

// Announce starts a session of a worker. Errors are of the type Error.
func (s *Service) Announce(ctx context.Context, r AnnounceRequest) (AnnounceResponse, error) {
	a, err := checkAnnounce(r)
	if err != nil {
		return AnnounceResponse{}, s.explain(err)
	}
	if r.Replaces != "" {
		if err := s.replace(ctx, r.Replaces); err != nil {
			return AnnounceResponse{}, s.explain(err)
		}
	}
	id, now := newSession(r.Worker), time.Now()
	c := &contact{session: session{Worker: r.Worker, Version: r.Version, Announcement: a.key, Started: now.UTC()}, announcement: a, seen: now, touched: now, announced: now}
	// The announcement first: a session without one is not valid.
	err = s.store.PutRecord(ctx, announcementKind, driver.Record{Key: a.key, Value: a.text}, AnnouncementKeep)
	if err == nil {
		err = putJSON(ctx, s.store, sessionKind, id, c.session, sessionKeep)
	}
	if err != nil {
		return AnnounceResponse{}, s.explain(err)
	}
	s.mu.Lock()
	s.known[id] = c
	s.mu.Unlock()
	s.log.Info("worker announced its tasks", "worker", r.Worker, "session", id, "version", r.Version, "tasks", len(a.names), "replaces", r.Replaces)
	return AnnounceResponse{Session: id, TTL: TTL.Seconds(), Limits: Limits{
		Result: MaxResult, Error: MaxError, Log: MaxLog, Note: MaxNote, Meta: MaxMeta, Body: MaxBody, Artifact: s.opt.MaxArtifact, Entries: MaxEntries, Wait: MaxWait.Seconds(),
	}}, nil
}

// replace ends the session of a dead worker.
func (s *Service) replace(ctx context.Context, id string) error {
	if !validSession(id) {
		return invalid("replaces: not the id of a session")
	}
	n, err := s.store.Reclaim(ctx, id)
	if err != nil {
		return err
	}
	s.drop(id)
	for _, kind := range []string{sessionKind, callKind} {
		if err := s.store.RemoveRecord(ctx, kind, id); err != nil {
			return err
		}
	}
	if n > 0 {
		s.log.Warn("worker died; its tasks are due again", "session", id, "tasks", n)
	}
	return nil
}

func checkAnnounce(r AnnounceRequest) (*announcement, error) {
	switch {
	case r.Worker == "" || len(r.Worker) > maxWorkerName || !utf8.ValidString(r.Worker):
		return nil, invalid("worker: give a name of 1 to %d bytes of UTF-8", maxWorkerName)
	case len(r.Version) > maxVersion || !utf8.ValidString(r.Version):
		return nil, invalid("version: not UTF-8 text of at most %d bytes", maxVersion)
	case len(r.Tasks) == 0:
		return nil, invalid("tasks: the list is empty; announce at least one task")
	case len(r.Tasks) > maxTasks:
		return nil, invalid("tasks: %d tasks; at most %d are allowed", len(r.Tasks), maxTasks)
	}
	tagged, err := json.Marshal(announcement{Version: r.Version, Tasks: r.Tasks})
	if err != nil {
		return nil, invalid("tasks: %v", err)
	}
	sum := sha256.Sum256(tagged)
	a := &announcement{At: time.Now().UTC(), Version: r.Version, Tasks: r.Tasks, key: hex.EncodeToString(sum[:16])}
	if err := a.index(); err != nil {
		return nil, err
	}
	a.text, err = json.Marshal(a)
	return a, err
}

// index checks the tasks and fills the fields that are not stored.
func (a *announcement) index() error {
	a.rates, a.byName, a.soft = map[string]jobs.Rate{}, map[string]jobs.Definition{}, map[string]float64{}
	for i, t := range a.Tasks {
		fault := func(format string, args ...any) error {
			return invalid("tasks[%d] %q: %s", i, utf8text.Cut(t.Name, 200), fmt.Sprintf(format, args...))
		}
		_, twice := a.byName[t.Name]
		switch {
		case !jobs.ValidID(t.Name):
			return fault("name: use 1 to 128 letters, digits, dots, underscores and hyphens")
		case twice:
			return fault("name: used twice")
		case t.Queue != "" && !jobs.ValidID(t.Queue):
			return fault("queue: use 1 to 128 letters, digits, dots, underscores and hyphens")
		case t.MaxRetries < 0 || t.MaxRetries > jobs.MaxRetries:
			return fault("max_retries: %d is not between 0 and %d", t.MaxRetries, jobs.MaxRetries)
		case t.Timeout < 0 || t.Timeout > maxSeconds || t.SoftTimeout < 0 || t.SoftTimeout > maxSeconds:
			return fault("timeout and soft_timeout: not between 0 and %.0f seconds", maxSeconds)
		case len(t.Schema) > maxSchema:
			return fault("schema: %d bytes, more than the limit of %d", len(t.Schema), maxSchema)
		}
		d := jobs.Definition{Name: t.Name, Queue: t.Queue, MaxRetries: t.MaxRetries, Timeout: seconds(t.Timeout)}
		if t.Rate != "" {
			if err := d.Rate.UnmarshalText([]byte(t.Rate)); err != nil {
				return fault("%v", err)
			}
			a.rates[t.Name] = d.Rate
		}
		d, err := jobs.Foreign(d, t.Schema)
		if err != nil {
			return fault("%v", err)
		}
		a.byName[t.Name], a.soft[t.Name] = d, t.SoftTimeout
		a.names = append(a.names, t.Name)
	}
	return nil
}

// maxSeconds is the largest time limit, a year.
const maxSeconds = 366 * 24 * 3600.0

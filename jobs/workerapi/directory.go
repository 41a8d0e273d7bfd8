package workerapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// directoryFresh is the time for which what was read from the store is used.
const directoryFresh = time.Second

// Directory reads which workers of other programs there are and which tasks they have
// announced. It implements jobs.Announced. Its methods may be called from many goroutines.
type Directory struct {
	store driver.Keeper

	mu       sync.Mutex
	at       time.Time // time at which the last read began
	snapshot snapshot
	decoded  map[string]*announcement // by key
}

// snapshot is the content of the store at a time.
type snapshot struct {
	workers       []Worker
	announcements []*announcement // the newest first
	live          map[string]bool // keys of announcements that have a session
}

// Worker is a worker of another program that has announced itself and was heard of within
// the last two minutes.
type Worker struct {
	Session string    `json:"session"`
	Name    string    `json:"worker"`
	Version string    `json:"version"`
	Started time.Time `json:"started"` // time of its Announce
	Queues  []string  `json:"queues"`  // queues of its last Lease
	Tasks   []string  `json:"tasks"`   // names that it has announced
}

// NewDirectory returns a Directory of the records in a task store.
func NewDirectory(store driver.Keeper) *Directory {
	return &Directory{store: store, decoded: map[string]*announcement{}}
}

// Announced implements jobs.Announced. If a live worker has announced the name, it returns
// the definitions of live workers only. Otherwise it returns all that are stored.
func (d *Directory) Announced(ctx context.Context, name string, fresh bool) ([]jobs.Definition, error) {
	s, err := d.latest(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("find tasks of workers: %w", err)
	}
	return s.definitions(name), nil
}

func (s snapshot) definitions(name string) (all []jobs.Definition) {
	var stored []jobs.Definition
	for _, a := range s.announcements {
		definition, ok := a.byName[name]
		switch {
		case !ok:
		case s.live[a.key]:
			all = append(all, definition)
		default:
			stored = append(stored, definition)
		}
	}
	if len(all) > 0 {
		return all
	}
	return stored
}

// Types returns the definitions of all announced tasks by name, in the order of Announced.
func (d *Directory) Types(ctx context.Context) (map[string][]jobs.Definition, error) {
	s, err := d.latest(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("find tasks of workers: %w", err)
	}
	all := map[string][]jobs.Definition{}
	for _, a := range s.announcements {
		for _, name := range a.names {
			if all[name] == nil {
				all[name] = s.definitions(name)
			}
		}
	}
	return all, nil
}

// Workers returns the live workers, sorted by session.
func (d *Directory) Workers(ctx context.Context) ([]Worker, error) {
	s, err := d.latest(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("find workers: %w", err)
	}
	return s.workers, nil
}

// latest returns the content of the store, not older than directoryFresh; with fresh, not
// older than the call.
func (d *Directory) latest(ctx context.Context, fresh bool) (snapshot, error) {
	called := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if fresh && d.at.After(called) || !fresh && called.Sub(d.at) < directoryFresh {
		return d.snapshot, nil
	}
	began := time.Now()
	s, err := d.load(ctx)
	if err != nil {
		return snapshot{}, err
	}
	d.at, d.snapshot = began, s
	return s, nil
}

func (d *Directory) load(ctx context.Context) (s snapshot, err error) {
	sessions, err := d.store.Records(ctx, sessionKind)
	if err != nil {
		return s, err
	}
	calls, err := d.store.Records(ctx, callKind)
	if err != nil {
		return s, err
	}
	announcements, err := d.store.Records(ctx, announcementKind)
	if err != nil {
		return s, err
	}
	stored := map[string]*announcement{}
	for _, r := range announcements {
		a, err := d.decode(r.Key, r.Value)
		if err != nil {
			return s, err
		}
		stored[r.Key] = a
		s.announcements = append(s.announcements, a)
	}
	d.decoded = stored
	slices.SortFunc(s.announcements, func(a, b *announcement) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.key, b.key)) })
	queues := map[string][]string{}
	for _, r := range calls {
		var c call
		if json.Unmarshal(r.Value, &c) == nil {
			queues[r.Key] = c.Queues
		}
	}
	s.live = map[string]bool{}
	for _, r := range sessions {
		var v session
		if json.Unmarshal(r.Value, &v) != nil || stored[v.Announcement] == nil {
			continue // of another version of this program
		}
		s.live[v.Announcement] = true
		s.workers = append(s.workers, Worker{
			Session: r.Key, Name: v.Worker, Version: v.Version, Started: v.Started, Queues: append([]string{}, queues[r.Key]...), Tasks: stored[v.Announcement].names,
		})
	}
	return s, nil
}

// decode decodes an announcement, unless it was decoded before.
func (d *Directory) decode(key string, text []byte) (*announcement, error) {
	if a := d.decoded[key]; a != nil && bytes.Equal(a.text, text) {
		return a, nil
	}
	a := &announcement{key: key, text: text}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("decode announcement %s: %w", key, err)
	}
	return a, a.index()
}

// read returns an announcement by its key.
func (d *Directory) read(ctx context.Context, key string) (*announcement, error) {
	text, err := d.store.Record(ctx, announcementKind, key)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.decode(key, text)
}

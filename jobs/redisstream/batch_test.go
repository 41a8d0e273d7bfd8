package redisstream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/redisstream"
)

// Concurrent calls of Enqueue share a script call. Each has its own result: accepted, already
// there, refused because of the id, or an error of its queue.
func TestConcurrentEnqueuesHaveTheirOwnResults(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	enqueueIn(t, s, "q", "old")
	first := jobs.NewTask{ID: "first", Name: "work", Queue: "q", Followers: []string{"reserved"}}
	if _, _, err := s.Enqueue(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	server.Client().Set(t.Context(), base+"stream:broken", "text", 0)

	tasks := map[string]jobs.NewTask{}
	for i := range 16 {
		tasks[fmt.Sprint("new", i)] = jobs.NewTask{ID: fmt.Sprint("new", i), Name: "work", Queue: "q", Args: fmt.Appendf(nil, "[%d]", i)}
		tasks[fmt.Sprint("broken", i)] = jobs.NewTask{ID: fmt.Sprint("broken", i), Name: "work", Queue: "broken"}
		tasks[fmt.Sprint("old", i)] = jobs.NewTask{ID: "old", Name: "work", Queue: "q"}
		tasks[fmt.Sprint("reserved", i)] = jobs.NewTask{ID: "reserved", Name: "work", Queue: "q"}
	}
	var all sync.WaitGroup
	for key, n := range tasks {
		all.Go(func() {
			task, created, err := s.Enqueue(t.Context(), n)
			switch {
			case strings.HasPrefix(key, "new"):
				if err != nil || !created || task.ID != n.ID || string(task.Args) != string(n.Args) {
					t.Errorf("%s: %+v, %v, %v", key, task, created, err)
				}
			case strings.HasPrefix(key, "broken"):
				if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGTYPE") {
					t.Errorf("%s: %v; want what is wrong with its queue", key, err)
				}
			case strings.HasPrefix(key, "old"):
				if err != nil || created || task.ID != "old" || task.Queue != "q" {
					t.Errorf("%s: %+v, %v, %v; want the existing task", key, task, created, err)
				}
			default:
				if err == nil || !strings.Contains(err.Error(), "reserved") {
					t.Errorf("%s: %v; want that its id is reserved", key, err)
				}
			}
		})
	}
	all.Wait()
	for i := range 16 {
		if task, err := s.Get(t.Context(), fmt.Sprint("new", i)); err != nil || string(task.Args) != fmt.Sprintf("[%d]", i) {
			t.Errorf("new%d: %+v, %v", i, task, err)
		}
		if _, err := s.Get(t.Context(), fmt.Sprint("broken", i)); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("broken%d: %v; want that nothing was stored", i, err)
		}
	}
	server.Client().Del(t.Context(), base+"stream:broken", base+"queues")
	enqueueIn(t, s, "broken", "broken0")
}

// If a permission is missing, concurrent calls of Enqueue are refused, and the log says why.
func TestConcurrentEnqueuesWithoutPermission(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var log lines
	s := open(t, limit(t, server, "-hset"), redisstream.Options{Logger: logTo(&log)})
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); !errors.Is(err, jobs.ErrUnavailable) {
				t.Errorf("t%d: %v; want that it is refused", i, err)
			}
		})
	}
	all.Wait()
	if !strings.Contains(log.String(), "redis refuses commands") || !strings.Contains(log.String(), "docs/howto/redis.md") {
		t.Errorf("the log does not name the fault:\n%s", log.String())
	}
}

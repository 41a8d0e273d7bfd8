//go:build e2e

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

// The tasks of the long run: 2,000 tasks of 20 ms in all.
const (
	singles = 1400 // over HTTP, three children accepting them
	chains  = 60   // of three
	groups  = 20   // of ten
	chords  = 20   // of ten and a callback
	rate    = 100  // singles a second

	workerKills, serveKills, redisKills = 10, 3, 2
)

// TestE2EChaos kills workers, servers and Redis under load and counts the results.
func TestE2EChaos(t *testing.T) {
	onEachStore(t, 5*time.Second, func(t *testing.T, s settings, store driver.Store, redis *redistest.Server) {
		r := &chaos{t: t, store: store, redis: redis}
		s.Concurrency = 4
		for i := range 2 {
			s.Owner = fmt.Sprint("chaos/worker.", i)
			r.workers = append(r.workers, spawn(t, s, nil))
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		r.url = "http://" + ln.Addr().String()
		file, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s.Role = "serve"
		for range 3 {
			r.servers = append(r.servers, spawn(t, s, file))
		}
		registry, err := s.tasks()
		if err != nil {
			t.Fatal(err)
		}
		r.client = &jobs.Client{Store: store, Tasks: registry}
		r.run(s.Runs)
	})
}

type chaos struct {
	t                *testing.T
	store            driver.Store
	redis            *redistest.Server
	client           *jobs.Client
	url              string
	workers, servers []*child

	mu       sync.Mutex
	accepted []string // answered 202, or by the store
	chords   []string // callbacks
	refused  int      // responses other than 202 and 200, and none at all
	kills    map[string]int
}

func (r *chaos) run(runs string) {
	t := r.t
	began := time.Now()
	r.kills = map[string]int{}
	var load sync.WaitGroup
	load.Go(r.postSingles) // end when all is accepted
	load.Go(r.sendWorkflows)
	r.killAll()
	load.Wait()
	took := time.Since(began)
	final := awaitFinal(t, r.store, r.accepted, 90*time.Second)

	wrong := 0
	for id, task := range final {
		if task.State != jobs.StateSuccess {
			wrong++
			t.Errorf("%s: %+v", id, task)
		}
	}
	for _, id := range r.chords {
		if c := final[id]; string(c.Result) != "10" {
			t.Errorf("chord %s collected %s of 10 results", id, c.Result)
		}
	}
	starts := map[string]int{}
	text, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(string(text)) {
		starts[strings.TrimSpace(line)]++
		total++
	}
	repeats := total - len(starts)
	t.Logf("\n%-28s %6d\n%-28s %6d\n%-28s %6d\n%-28s %6d\n%-28s %6d (%.2f %%)\n%-28s %6d of %d\n%-28s %6v\n%-28s %6v\n%-28s %6v",
		"accepted", len(r.accepted), "ended in success", len(final)-wrong, "ended otherwise", wrong,
		"requests tried again", r.refused, "attempts that were repeats", repeats, 100*float64(repeats)/float64(len(r.accepted)),
		"chords complete, once", len(r.chords), chords, "killed", r.kills,
		"all accepted after", took.Round(100*time.Millisecond), "all ended after", time.Since(began).Round(100*time.Millisecond))
	if want := singles + 3*chains + 10*groups + 11*chords; len(r.accepted) != want || len(starts) != want {
		t.Errorf("%d accepted, %d run; want %d", len(r.accepted), len(starts), want)
	}
	if repeats*50 >= len(r.accepted) {
		t.Errorf("%d repeats are 2 %% or more", repeats)
	}
}

func (r *chaos) accept(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted = append(r.accepted, ids...)
}

func (r *chaos) progress() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.accepted)
}

// postSingles posts single tasks at a constant rate and repeats each until it is accepted.
func (r *chaos) postSingles() {
	client := &http.Client{Timeout: 5 * time.Second}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := range singles {
		<-tick.C
		all.Go(func() { // ends when the task is accepted, or after 60 s
			id := fmt.Sprint("single-", i)
			for end := time.Now().Add(60 * time.Second); !r.post(client, id); {
				if time.Now().After(end) {
					r.t.Errorf("%s is not accepted", id)
					return
				}
				<-time.After(50 * time.Millisecond)
			}
			r.accept(id)
		})
	}
}

func (r *chaos) post(client *http.Client, id string) bool {
	body := fmt.Sprintf(`{"task":"nap","args":[20],"id":%q}`, id)
	resp, err := client.Post(r.url+"/tasks", "application/json", bytes.NewBufferString(body))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	status := 0 // no response: the server was killed
	if err == nil {
		status = resp.StatusCode
	}
	switch status {
	case http.StatusAccepted, http.StatusOK: // 200 if an earlier request was accepted and its response lost
		return true
	case 0, http.StatusServiceUnavailable:
	default:
		r.t.Errorf("%s: status %d", id, status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
	return false
}

// nap returns a task of 20 ms. In a chain, its second argument is the result of the task
// before it.
func nap(id string) *tasks.Signature {
	return &tasks.Signature{UUID: id, Name: "nap", Args: []tasks.Arg{{Type: "int64", Value: 20}}}
}

// sendWorkflows sends chains, groups and chords while postSingles runs.
func (r *chaos) sendWorkflows() {
	ctx := context.Background()
	for i := range chains {
		r.rest()
		var members []*tasks.Signature
		var ids []string
		for k := range 3 {
			id := fmt.Sprintf("chain-%d-%d", i, k)
			ids, members = append(ids, id), append(members, nap(id))
		}
		chain, _ := tasks.NewChain(members...)
		persist(r.t, "chain", func() error { _, err := machinery.SendChain(ctx, r.client, chain); return err })
		r.accept(ids...)
	}
	for i := range groups + chords {
		r.rest()
		kind := []string{"group", "chord"}[i%2]
		g := jobs.NewGroup{ID: fmt.Sprint(kind, "-", i)}
		var ids []string
		for k := range 10 {
			id := fmt.Sprintf("%s-%d", g.ID, k)
			ids = append(ids, id)
			g.Members = append(g.Members, jobs.NewTask{ID: id, Name: "nap", Args: json.RawMessage(`[20]`)})
		}
		if kind == "chord" {
			g.Callback = &jobs.NewTask{ID: g.ID + "-sum", Name: "sum"}
			ids = append(ids, g.Callback.ID)
			r.mu.Lock()
			r.chords = append(r.chords, g.Callback.ID)
			r.mu.Unlock()
		}
		persist(r.t, kind, func() error { _, err := r.client.EnqueueGroup(ctx, g); return err })
		r.accept(ids...)
	}
}

// rest waits between workflows, so that they are spread over the duration of postSingles.
func (r *chaos) rest() { <-time.After(time.Second * singles / rate / (chains + groups + chords)) }

// persist calls do until it succeeds.
func persist(t testing.TB, what string, do func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, jobs.ErrUnavailable) || time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// killAll kills processes of each kind at a constant rate while tasks are accepted.
func (r *chaos) killAll() {
	const total = singles + 3*chains + 10*groups + 11*chords
	type kill struct {
		at   int
		what string
		do   func()
	}
	var plan []kill
	for i := range workerKills {
		plan = append(plan, kill{(2*i + 1) * total / (2*workerKills + 2), "worker", r.workers[i%2].kill})
	}
	for i := range serveKills {
		plan = append(plan, kill{(i + 1) * total / (serveKills + 2), "serve", r.servers[i].kill})
	}
	for i := range redisKills {
		if r.redis != nil {
			plan = append(plan, kill{(2*i + 1) * total / (2*redisKills + 1), "redis", func() { r.redis.Kill(); r.redis.Restart(r.t) }})
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(90 * time.Second); len(plan) > 0; <-tick.C {
		if time.Now().After(end) {
			r.t.Errorf("%d kills were left over", len(plan))
			return
		}
		var left []kill
		for _, k := range plan {
			if r.progress() < k.at {
				left = append(left, k)
				continue
			}
			k.do()
			r.kills[k.what]++
		}
		plan = left
	}
}

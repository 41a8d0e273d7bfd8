//go:build e2e

package torture_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// programs is the number of worker programs.
	programs = 2
	// remoteTask is the name of the task that they run.
	remoteTask = "remote"
	// atOnce is the number of tasks that a worker program runs at the same time.
	atOnce = 4
	// callTime is how long a worker program waits for a response.
	callTime = 6 * time.Second
	// callWait is how long a lease or extend call waits, in seconds.
	callWait = 2
	// finishTime is how long a worker program tries to end an attempt.
	finishTime = 25 * time.Second
)

// program is a worker program: a client of the worker protocol. What it does with an attempt
// follows from the seed, the task and the number of the attempt.
type program struct {
	t      *testing.T
	number int
	runs   string
	h      *history
	client *client // for the requests
	seed   uint64

	mu      sync.Mutex
	session string
	held    map[string]context.CancelFunc // leases that it extends, with the ends of their attempts
	silent  time.Time                     // until when it makes no calls
}

func newProgram(w *workload, number int) *program {
	return &program{
		t: w.t, number: number, runs: w.system.runs, h: w.h, seed: w.seed,
		client: newClient(w.system.urls(), w.h, w.seed, number),
	}
}

// run lets the program live and die until ctx ends. It calls announced when the server knows
// its task.
func (p *program) run(ctx context.Context, announced func()) {
	announced = sync.OnceFunc(announced)
	rng := rand.New(rand.NewPCG(p.seed, uint64(p.number)))
	for ctx.Err() == nil {
		body := object{"worker": fmt.Sprint("program", p.number), "version": "1", "tasks": []object{{"name": remoteTask}}}
		if rng.IntN(2) == 0 && p.session != "" {
			body["replaces"] = p.session
		}
		var out struct{ Session string }
		if p.call(ctx, "/workers/announce", body, &out) != http.StatusOK {
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		announced()
		p.mu.Lock()
		p.session, p.held = out.Session, map[string]context.CancelFunc{}
		p.mu.Unlock()
		p.live(ctx)
	}
}

// sleep waits until the time is up or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// call sends a request and decodes the response. Status 0 is a lost response.
func (p *program) call(ctx context.Context, path string, in, out any) (status int) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	p.mu.Lock()
	url := p.client.server() + path
	p.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encode(in)))
	if err != nil {
		return 0
	}
	resp, err := p.client.http.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusOK && json.Unmarshal(body, out) != nil {
		return 0
	}
	return resp.StatusCode
}

// live leases and runs tasks until ctx ends, the program dies, or its session is unknown.
func (p *program) live(ctx context.Context) {
	ctx, die := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer die()
	running.Go(func() { // ends with ctx
		for ctx.Err() == nil {
			p.extend(ctx, die)
			sleep(ctx, time.Second)
		}
	})
	for ctx.Err() == nil {
		leases, ok := p.lease(ctx, die)
		for _, l := range leases {
			attempt, end := context.WithCancel(ctx)
			p.mu.Lock()
			p.held[l.Lease] = end
			p.mu.Unlock()
			running.Go(func() { // ends with ctx at the latest
				defer end()
				p.perform(attempt, ctx, die, l)
			})
		}
		if !ok || len(leases) == 0 {
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

// holds returns the leases that the program extends.
func (p *program) holds() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []string{}
	for l := range p.held {
		all = append(all, l)
	}
	slices.Sort(all)
	return all
}

// drop forgets a lease, and reports whether it was held.
func (p *program) drop(lease string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, held := p.held[lease]
	delete(p.held, lease)
	return held
}

// silence waits until the program may make calls.
func (p *program) silence(ctx context.Context) {
	p.mu.Lock()
	until := p.silent
	p.mu.Unlock()
	sleep(ctx, time.Until(until))
}

// leased is a lease in a response.
type leased struct {
	Lease string
	Task  *task
}

// lease asks for tasks.
func (p *program) lease(ctx context.Context, die func()) (leases []leased, ok bool) {
	p.silence(ctx)
	holds := p.holds()
	if len(holds) >= atOnce {
		return nil, false
	}
	var out struct{ Leases []leased }
	asked := time.Now().UnixNano()
	status := p.call(ctx, "/workers/lease", object{"session": p.session, "queues": queues, "max": atOnce - len(holds), "wait": callWait, "holds": holds}, &out)
	if status == http.StatusGone {
		die()
	}
	p.record(kindLease, asked, out.Leases)
	return out.Leases, status == http.StatusOK
}

// record records what a response says about leases.
func (p *program) record(kind string, since int64, leases []leased) {
	for _, l := range leases {
		o := op{Client: p.number, Kind: kind, Lease: l.Lease, Since: since}
		if l.Task != nil {
			o.ID, o.N = l.Task.ID, int64(l.Task.Attempts)
		}
		p.h.end(p.h.begin(o), func(o *op) { o.Status = http.StatusOK })
	}
}

// extend prolongs the leases, and ends the attempts of those that are lost or cancelled.
func (p *program) extend(ctx context.Context, die func()) {
	p.silence(ctx)
	holds := p.holds()
	if len(holds) == 0 {
		return
	}
	var out struct{ Lost, Cancelled []string }
	asked := time.Now().UnixNano()
	switch p.call(ctx, "/workers/extend", object{"session": p.session, "holds": holds, "wait": callWait}, &out) {
	case http.StatusGone:
		die()
		return
	case http.StatusOK:
	default:
		return
	}
	for _, l := range holds {
		kind, since := kindExtend, asked
		if slices.Contains(out.Lost, l) || slices.Contains(out.Cancelled, l) {
			p.mu.Lock()
			end := p.held[l]
			delete(p.held, l)
			p.mu.Unlock()
			if end == nil || slices.Contains(out.Cancelled, l) {
				if end != nil {
					end()
				}
				continue
			}
			end()
			kind, since = kindLost, 0
		}
		p.record(kind, since, []leased{{Lease: l}})
	}
}

// Shares of what a worker program does with an attempt, in percent.
const (
	shareForget  = 4 // it forgets the lease, and ends the attempt nevertheless
	shareRelease = 4 // it gives the task back
	shareLost    = 3 // the process of the task dies
	shareTwice   = 4 // it ends the attempt twice at the same time
)

// One of so many attempts of a worker program ends the program, or is a long silence.
const (
	dieEvery    = 100
	silentEvery = 400
)

// perform runs an attempt. attempt ends when its lease is lost or cancelled, ctx when the
// program dies.
func (p *program) perform(attempt, ctx context.Context, die func(), l leased) {
	defer p.drop(l.Lease)
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, l.Task.ID, "/", l.Task.Attempts)
	rng := rand.New(rand.NewPCG(p.seed, hash.Sum64()))
	if err := recordRun(p.runs, l.Task.ID, l.Task.Attempts, runStart); err != nil {
		p.t.Error(err)
	}
	tag, ms, fails, before, err := remoteArgs(l.Task)
	if err != nil {
		p.t.Error(err)
		return
	}
	if rng.IntN(3) == 0 {
		p.report(ctx, l, rng.IntN(100))
	}
	switch {
	case rng.IntN(dieEvery) == 0:
		die()
		return
	case rng.IntN(silentEvery) == 0:
		p.mu.Lock()
		p.silent = time.Now().Add(leaseTTL + time.Duration(rng.IntN(8000)-2000)*time.Millisecond)
		p.mu.Unlock()
		p.silence(ctx)
	}
	sleep(attempt, time.Duration(ms)*time.Millisecond)
	if ctx.Err() != nil || attempt.Err() != nil && rng.IntN(2) == 0 { // else it comes too late
		return
	}
	n := rng.IntN(100)
	switch {
	case n < shareForget:
		p.drop(l.Lease)
		sleep(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
	case n < shareForget+shareRelease:
		p.release(ctx, l)
		return
	case n < shareForget+shareRelease+shareLost:
		p.finish(ctx, l, object{"state": "lost"}, false)
		return
	}
	end := object{"state": "success", "result": tag}
	if before != "" {
		end["result"] = before + ">" + tag
	}
	failed, err := failedRuns(p.runs, l.Task.ID)
	step := runEnd
	if failed < fails {
		end, step = object{"state": "retry", "error": "as it was told", "delay": 0.05}, runFail
	}
	if err := errors.Join(err, recordRun(p.runs, l.Task.ID, l.Task.Attempts, step)); err != nil {
		p.t.Error(err)
	}
	if n >= 100-shareTwice {
		var second sync.WaitGroup
		second.Go(func() { p.finish(ctx, l, end, true) })
		defer second.Wait()
		p.finish(ctx, l, end, true)
		return
	}
	p.finish(ctx, l, end, false)
}

// remoteArgs returns the arguments of a task.
func remoteArgs(t *task) (tag string, ms, fails int, before string, err error) {
	into := []any{&tag, &ms, &fails, &before}
	if len(t.Args) > len(into) {
		return "", 0, 0, "", fmt.Errorf("task %s has %d arguments", t.ID, len(t.Args))
	}
	for i, raw := range t.Args {
		err = errors.Join(err, json.Unmarshal(raw, into[i]))
	}
	return tag, ms, fails, before, err
}

// report sends progress and a line of the log.
func (p *program) report(ctx context.Context, l leased, progress int) {
	for path, entry := range map[string]object{
		"/workers/progress": {"lease": l.Lease, "progress": progress, "note": "half"},
		"/workers/log":      {"lease": l.Lease, "lines": []string{"a line"}},
	} {
		var out []json.RawMessage
		seq := p.h.begin(op{Client: p.number, Kind: kindReport, ID: l.Task.ID})
		status := p.call(ctx, path, []object{entry}, &out)
		p.h.end(seq, func(o *op) { o.Status = status })
	}
}

// result is the result of an entry.
type result struct {
	Code  int
	State string
}

// entry sends a list of one entry, and returns its result.
func (p *program) entry(ctx context.Context, path string, entry object) (r result) {
	var out []result
	r.Code = p.call(ctx, path, []object{entry}, &out)
	if r.Code == http.StatusOK && len(out) == 1 {
		return out[0]
	}
	return r
}

// release gives a task back.
func (p *program) release(ctx context.Context, l leased) {
	held := p.drop(l.Lease)
	seq := p.h.begin(op{Client: p.number, Kind: kindRelease, ID: l.Task.ID, Lease: l.Lease, N: int64(l.Task.Attempts), Held: held})
	r := p.entry(ctx, "/workers/release", object{"lease": l.Lease, "delay": 0.1})
	p.h.end(seq, func(o *op) { o.Status, o.Got = r.Code, r.State })
}

// finish ends an attempt. It repeats the request until it has a response. repeat says that
// another request may end the attempt at the same time.
func (p *program) finish(ctx context.Context, l leased, entry object, repeat bool) {
	body := object{"lease": l.Lease}
	for k, v := range entry {
		body[k] = v
	}
	for end := time.Now().Add(finishTime); ctx.Err() == nil && time.Now().Before(end); repeat = true {
		held := slices.Contains(p.holds(), l.Lease)
		seq := p.h.begin(op{
			Client: p.number, Kind: kindFinish, ID: l.Task.ID, Lease: l.Lease, N: int64(l.Task.Attempts),
			Content: fmt.Sprint(entry["state"]), Held: held, Repeat: repeat,
		})
		r := p.entry(ctx, "/workers/finish", body)
		p.h.end(seq, func(o *op) { o.Status, o.Got = r.Code, r.State })
		if r.Code != 0 && r.Code < 500 {
			return
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

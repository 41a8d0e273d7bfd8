//go:build e2e

package torture_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// maxFaults is the number of faults that last at the same time.
const maxFaults = 3

// faults injects faults into a server. Every fault repairs what it has broken.
type faults struct {
	site *site
	rng  *rand.Rand

	alone sync.RWMutex // held for writing by a fault that ends the whole server
	mu    sync.Mutex
	count map[string]int // faults that have taken place, by name
}

// fault is a kind of fault. do returns false if it could not take place, for example because
// the process to kill is starting.
type fault struct {
	name   string
	weight int
	alone  bool
	do     func(f *faults, pause time.Duration, pick int) bool
}

func killChild(role string) func(*faults, time.Duration, int) bool {
	return func(f *faults, _ time.Duration, pick int) bool {
		all := f.site.children(role)
		return len(all) > 0 && f.site.signal(all[pick%len(all)], syscall.SIGKILL)
	}
}

func stopChild(role string) func(*faults, time.Duration, int) bool {
	return func(f *faults, pause time.Duration, pick int) bool {
		all := f.site.children(role)
		if len(all) == 0 || !f.site.signal(all[pick%len(all)], syscall.SIGSTOP) {
			return false
		}
		<-time.After(pause)
		f.site.signal(all[pick%len(all)], syscall.SIGCONT)
		return true
	}
}

// kindsOfFaults are the faults for a store.
func kindsOfFaults(store string) []fault {
	all := []fault{
		{name: "kill -9 worker", weight: 6, do: killChild("worker")},
		{name: "kill -9 serve", weight: 6, do: killChild("serve")},
		{name: "stop worker", weight: 4, do: stopChild("worker")},
		{name: "stop serve", weight: 4, do: stopChild("serve")},
		{name: "reload (HUP)", weight: 2, do: func(f *faults, _ time.Duration, _ int) bool {
			return f.site.current().Cmd.Process.Signal(syscall.SIGHUP) == nil
		}},
		{name: "add and remove a process (TTIN, TTOU)", weight: 2, do: func(f *faults, pause time.Duration, _ int) bool {
			master := f.site.current().Cmd.Process
			if master.Signal(syscall.SIGTTIN) != nil {
				return false
			}
			<-time.After(pause)
			return master.Signal(syscall.SIGTTOU) == nil
		}},
		{name: "kill -9 master", weight: 1, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
			f.site.current().Kill()
			<-time.After(pause / 4)
			f.site.start()
			return true
		}},
	}
	if store == "redis" {
		return append(all,
			fault{name: "kill -9 redis-server", weight: 2, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
				f.site.redis.Kill()
				<-time.After(pause / 2)
				f.site.redis.Restart(f.site.t)
				return true
			}},
			fault{name: "stop redis-server", weight: 2, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
				f.site.redis.Stop(f.site.t)
				<-time.After(pause)
				f.site.redis.Continue(f.site.t)
				return true
			}})
	}
	return append(all,
		fault{name: "kill -9 state server", weight: 2, do: killChild("store")},
		fault{name: "stop state server", weight: 2, do: stopChild("store")})
}

// run injects faults until ctx ends, and waits until the last ones are repaired.
func (f *faults) run(ctx context.Context, store string) {
	all, total := kindsOfFaults(store), 0
	for _, k := range all {
		total += k.weight
	}
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, maxFaults)
	for {
		wait := time.Duration(200+f.rng.IntN(1200)) * time.Millisecond
		pause := time.Duration(100+f.rng.IntN(3900)) * time.Millisecond
		n, pick := f.rng.IntN(total), f.rng.IntN(1<<16)
		kind := all[0]
		for _, kind = range all {
			if n -= kind.weight; n < 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		select {
		case <-ctx.Done():
			return
		case room <- struct{}{}:
		}
		running.Go(func() { // ends when the fault is repaired
			defer func() { <-room }()
			f.inject(kind, pause, pick)
		})
	}
}

// inject injects one fault and counts it.
func (f *faults) inject(kind fault, pause time.Duration, pick int) {
	lock, unlock := f.alone.RLock, f.alone.RUnlock
	if kind.alone {
		lock, unlock = f.alone.Lock, f.alone.Unlock
	}
	lock()
	defer unlock()
	if !kind.do(f, pause, pick) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[kind.name]++
}

// counts returns how often each fault has taken place.
func (f *faults) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.count)
}

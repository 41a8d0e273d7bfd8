//go:build e2e

package torture_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// maxFaults is the number of faults that last at the same time.
const maxFaults = 3

// faults injects faults into the servers and what they use. Every fault repairs what it has
// broken.
type faults struct {
	system *system
	h      *history
	rng    *rand.Rand

	alone sync.RWMutex // held for writing by a fault that ends a whole server
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

// pick returns one of the servers, and a number to choose one of its children.
func (f *faults) pick(pick int) (*site, int) {
	n := len(f.system.sites)
	return f.system.sites[pick%n], pick / n
}

// onChild returns a fault of a child of a role. do returns the repair, or false.
func onChild(role string, do func(s *site, c child) (repair func(), ok bool)) func(*faults, time.Duration, int) bool {
	return func(f *faults, pause time.Duration, pick int) bool {
		s, n := f.pick(pick)
		all := s.children(role)
		if len(all) == 0 {
			return false
		}
		repair, ok := do(s, all[n%len(all)])
		if ok && repair != nil {
			<-time.After(pause)
			repair()
		}
		return ok
	}
}

func killChild(role string) func(*faults, time.Duration, int) bool {
	return onChild(role, func(s *site, c child) (func(), bool) { return nil, s.signal(c, syscall.SIGKILL) })
}

func stopChild(role string) func(*faults, time.Duration, int) bool {
	return onChild(role, func(s *site, c child) (func(), bool) {
		return func() { s.signal(c, syscall.SIGCONT) }, s.signal(c, syscall.SIGSTOP)
	})
}

// filesLeft is how many files a child without descriptors can still open.
const filesLeft = 2

func starveChild(role string) func(*faults, time.Duration, int) bool {
	return onChild(role, func(s *site, c child) (func(), bool) { return s.starve(c, filesLeft) })
}

// onServer returns a fault that a function makes and repairs.
func onServer(do func(f *faults, s *site, pause time.Duration) bool) func(*faults, time.Duration, int) bool {
	return func(f *faults, pause time.Duration, pick int) bool {
		s, _ := f.pick(pick)
		return do(f, s, pause)
	}
}

// long is how much longer than others some faults last: up to 40 seconds, longer than a lease
// and all time limits of requests to Redis.
const long = 10

// kindsOfFaults are the faults for a store.
func kindsOfFaults(store string) []fault {
	all := []fault{
		{name: "kill -9 worker", weight: 12, do: killChild("worker")},
		{name: "kill -9 serve", weight: 12, do: killChild("serve")},
		{name: "stop worker", weight: 8, do: stopChild("worker")},
		{name: "stop serve", weight: 8, do: stopChild("serve")},
		{name: "no descriptors: worker", weight: 2, do: starveChild("worker")},
		{name: "no descriptors: serve", weight: 2, do: starveChild("serve")},
		{name: "reload (HUP)", weight: 4, do: onServer(func(_ *faults, s *site, _ time.Duration) bool {
			return s.current().Cmd.Process.Signal(syscall.SIGHUP) == nil
		})},
		{name: "add and remove a process (TTIN, TTOU)", weight: 4, do: onServer(func(_ *faults, s *site, pause time.Duration) bool {
			master := s.current().Cmd.Process
			if master.Signal(syscall.SIGTTIN) != nil {
				return false
			}
			<-time.After(pause)
			return master.Signal(syscall.SIGTTOU) == nil
		})},
		{name: diskFull, weight: 4, do: onServer(func(_ *faults, s *site, pause time.Duration) bool {
			if !s.fillDisk() {
				return false
			}
			<-time.After(pause)
			s.emptyDisk()
			return true
		})},
		{name: "kill -9 master", weight: 2, alone: true, do: onServer(func(_ *faults, s *site, pause time.Duration) bool {
			s.current().Kill()
			<-time.After(pause / 4)
			s.start()
			return true
		})},
	}
	all = append(all, linkFaults(linkServer)...)
	switch store {
	case storeSQLite:
		return append(all,
			fault{name: "kill -9 state server", weight: 4, do: killChild("store")},
			fault{name: "stop state server", weight: 4, do: stopChild("store")},
			fault{name: "no descriptors: state server", weight: 2, do: starveChild("store")})
	case storeMachines:
		all = append(all, machineFaults()...)
		all = append(all, linkFaults(linkStorage)...)
	}
	all = append(all, linkFaults(linkRedis)...)
	return append(all,
		fault{name: "kill -9 redis-server", weight: 4, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
			r := f.system.redis
			r.Kill()
			<-time.After(pause / 2)
			r.Restart(f.system.sites[0].t)
			return true
		}},
		fault{name: "stop redis-server", weight: 4, alone: true, do: stopRedis},
		fault{name: "stop redis-server for long", weight: 1, alone: true, do: func(f *faults, pause time.Duration, pick int) bool {
			return stopRedis(f, long*pause, pick)
		}})
}

func stopRedis(f *faults, pause time.Duration, _ int) bool {
	t := f.system.sites[0].t
	f.system.redis.Stop(t)
	<-time.After(pause)
	f.system.redis.Continue(t)
	return true
}

// linkFaults are the faults of a link.
func linkFaults(name string) []fault {
	degrade := func(kind string, quality func(pick int) harness.Quality) fault {
		return fault{name: kind + name, weight: 2, do: func(f *faults, pause time.Duration, pick int) bool {
			return f.system.links[name].Degrade(quality(pick), pause)
		}}
	}
	return []fault{
		degrade("late bytes: ", func(pick int) harness.Quality {
			return harness.Quality{Delay: time.Duration(5+pick%100) * time.Millisecond, Jitter: time.Duration(pick%400) * time.Millisecond}
		}),
		degrade("few bytes: ", func(pick int) harness.Quality { return harness.Quality{BytesPerSecond: 8<<10 + pick} }),
		degrade("no bytes: ", func(int) harness.Quality { return harness.Quality{Stopped: true} }),
		{name: resets + name, weight: 2, do: func(f *faults, pause time.Duration, _ int) bool {
			f.system.links[name].Reset(pause / 4)
			return true
		}},
	}
}

// machineFaults are the faults of two machines and what they share.
func machineFaults() []fault {
	cut := func(factor time.Duration, name string) fault {
		return fault{name: name, weight: 4, do: func(f *faults, pause time.Duration, pick int) bool {
			return f.system.network.cut(pick%len(f.system.sites), factor*pause)
		}}
	}
	kill := func(factor time.Duration, name string) fault {
		return fault{name: name, weight: 4, alone: true, do: onServer(func(_ *faults, s *site, pause time.Duration) bool {
			s.killMachine()
			<-time.After(factor * pause)
			s.start()
			return true
		})}
	}
	return []fault{
		cut(1, "cut a machine off"),
		cut(long, "cut a machine off for long"),
		kill(1, "kill -9 a machine"),
		kill(long, "kill -9 a machine for long"),
		{name: "slow network", weight: 4, do: func(f *faults, pause time.Duration, pick int) bool {
			return f.system.network.slow(pick%len(f.system.sites), 2*pause)
		}},
		{name: "kill -9 object storage", weight: 2, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
			f.system.gateway.Kill()
			<-time.After(pause)
			f.system.gateway.Restart(f.system.sites[0].t)
			return true
		}},
		{name: "stop object storage", weight: 2, alone: true, do: func(f *faults, pause time.Duration, _ int) bool {
			t := f.system.sites[0].t
			f.system.gateway.Pause(t)
			<-time.After(pause)
			f.system.gateway.Continue(t)
			return true
		}},
	}
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
	seq := f.h.begin(op{Kind: kindFault, ID: kind.name})
	done := kind.do(f, pause, pick)
	f.h.end(seq, func(o *op) {
		if o.Status = http.StatusOK; !done {
			o.Status = http.StatusNotFound
		}
	})
	if !done {
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

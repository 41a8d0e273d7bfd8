package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// underLoad runs a fault against a server under load. Every request must get a response,
// except those that a killed or stopped child was serving.
func underLoad(ctx context.Context, b *bench, binary string, flags []string, fault func(*server, *load) ([]victim, error)) (result, error) {
	s, err := b.start(ctx, binary, flags...)
	if err != nil {
		return result{}, err
	}
	l := startLoad(s.addr)
	victims, err := fault(s, l)
	r := l.end(victims)
	if stopErr := s.stop(); err == nil {
		err = stopErr
	}
	most := 0
	for _, v := range victims {
		most += len(v.held)
	}
	return r, errors.Join(err, r.check(most))
}

func killChildren(ctx context.Context, b *bench) (result, error) {
	kills := 0
	r, err := underLoad(ctx, b, b.binary, nil, func(s *server, _ *load) (victims []victim, err error) {
		if err := s.awaitLive(); err != nil {
			return nil, err
		}
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
			live := s.live()
			if len(live) == 0 {
				continue
			}
			v, err := killVictim(live[kills%len(live)].PID)
			if err != nil {
				return victims, err
			}
			victims = append(victims, v)
			kills++
		}
		return victims, nil
	})
	if err == nil && kills < 40 {
		err = fmt.Errorf("only %d kills; children are restarted too slowly", kills)
	}
	if r.note == "" {
		r.note = fmt.Sprintf("%d kills", kills)
	}
	return r, err
}

func stopChildren(ctx context.Context, b *bench) (result, error) {
	r, err := underLoad(ctx, b, b.binary, []string{"-hang-timeout", "1s"}, func(s *server, _ *load) (victims []victim, err error) {
		for i := range 5 {
			if err := s.awaitLive(); err != nil {
				return victims, err
			}
			pid := s.live()[i%slots].PID
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				return victims, err
			}
			begin := time.Now()
			if err := eventually("the child stops", func() bool { return stopped(pid) }); err != nil {
				return victims, err
			}
			held, err := accepted(pid)
			if err != nil {
				return victims, err
			}
			victims = append(victims, victim{begin, held})
			<-time.After(time.Until(begin.Add(5 * time.Second)))
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		if n := s.count(`msg="child hung"`); n != 5 {
			return victims, fmt.Errorf("%d of 5 children were reported as hung", n)
		}
		return victims, nil
	})
	if err == nil && r.slow() >= 1 {
		err = fmt.Errorf("%.2f %% of the requests took over %v", r.slow(), slowAfter)
	}
	return r, err
}

// crashOnBoot starts a server in which one child exits before it is ready.
func crashOnBoot(ctx context.Context, b *bench) (result, error) {
	binary, err := b.build(ctx, "crashing", patch{
		"app/child.go", "	roles := map[string]roleWork{",
		"	if child.Slot() == \"serve.1\" {\n		os.Exit(7)\n	}\n	roles := map[string]roleWork{",
	})
	if err != nil {
		return result{}, err
	}
	return underLoad(ctx, b, binary, nil, func(s *server, _ *load) ([]victim, error) {
		return nil, eventually("the backoff is at its cap", func() bool {
			return s.count("slot=serve.1") > 0 && s.count("restart_in=5") >= 2 && len(s.live()) == slots-1
		})
	})
}

func resize(ctx context.Context, b *bench) (result, error) {
	return underLoad(ctx, b, b.binary, nil, func(s *server, _ *load) ([]victim, error) {
		for range 30 {
			if err := s.awaitLive(); err != nil {
				return nil, err
			}
			s.signal(syscall.SIGTTOU)
			if err := eventually("a slot is removed", func() bool {
				return s.serveSlots() == slots-1
			}); err != nil {
				return nil, err
			}
			s.signal(syscall.SIGTTIN)
		}
		return nil, s.awaitLive()
	})
}

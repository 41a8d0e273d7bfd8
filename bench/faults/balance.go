package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// connections is how many are held.
const connections = 400

// balanceKilled kills every child once. Clients come back after a moment, as
// those do that do not want to hammer a server in trouble; at once there would
// only be the siblings to come back to.
func balanceKilled(ctx context.Context, b *bench) (result, error) {
	return balance(ctx, b, 300*time.Millisecond, func(s *server, back func() error) error {
		for i := range slots {
			if err := back(); err != nil {
				return err
			}
			name := fmt.Sprintf("serve.%d", i)
			old := s.pids()[name]
			if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
				return err
			}
			if err := eventually("the child is replaced", func() bool {
				now := s.pids()[name]
				return now != 0 && now != old && len(s.live()) == slots
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// balanceReloaded replaces every child by a reload. Clients come back soon.
func balanceReloaded(ctx context.Context, b *bench) (result, error) {
	return balance(ctx, b, 50*time.Millisecond, func(s *server, back func() error) error {
		if err := back(); err != nil {
			return err
		}
		old := s.pids()
		s.signal(syscall.SIGHUP)
		return eventually("the reload is through, and nobody old left", func() bool {
			for name, pid := range old {
				if name != "store.0" && syscall.Kill(pid, 0) == nil {
					return false
				}
			}
			return s.reloaded()
		})
	})
}

// balance holds connections while all children are replaced, and looks how they
// are spread when their clients have come back.
func balance(ctx context.Context, b *bench, pause time.Duration, replace func(s *server, back func() error) error) (r result, err error) {
	s, err := b.start(ctx, b.binary)
	if err != nil {
		return r, err
	}
	if err := s.whole(); err != nil {
		return r, err
	}
	holding, release := context.WithCancel(ctx)
	var holders sync.WaitGroup
	for range connections {
		holders.Go(func() { hold(holding, s.addr, pause) }) // ends with holding
	}
	defer holders.Wait()
	defer release()
	back := func() error {
		return eventually("all connections are held", func() bool {
			sum, _, _ := s.held()
			return sum == connections && len(s.live()) == slots
		})
	}
	if err := replace(s, back); err != nil {
		return r, err
	}
	err = back()
	_, least, most := s.held()
	r.requests, r.note = connections, fmt.Sprintf("smallest slot %d, largest %d", least, most)
	if err == nil && float64(most) > 1.2*float64(least) {
		err = errors.New("unbalanced")
	}
	release()
	holders.Wait()
	return r, errors.Join(err, s.stop())
}

// held adds up the connections of all serve slots, and finds the smallest and
// the largest number.
func (s *server) held() (sum, least, most int) {
	least = connections
	for _, sl := range s.live() {
		sum, least, most = sum+sl.Connections, min(least, sl.Connections), max(most, sl.Connections)
	}
	return sum, least, most
}

// hold asks once and keeps the connection; when it is lost, it connects again
// after a pause, more or less.
func hold(ctx context.Context, addr string, pause time.Duration) {
	for ctx.Err() == nil {
		conn, err := dial(ctx, addr)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, _ = fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		buf := make([]byte, 4096)
		for err == nil {
			_, err = conn.Read(buf)
		}
		stop()
		_ = conn.Close()
		if pause > 0 {
			<-time.After(pause/2 + rand.N(pause))
		}
	}
}

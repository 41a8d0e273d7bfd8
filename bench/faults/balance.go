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

// connections is the number of open connections.
const connections = 400

// balanceKilled kills every child once. Clients reconnect after a pause, like clients with a
// backoff, that begins when the child is replaced. Otherwise only the other children would
// accept their connections, if a start takes longer than the pause.
func balanceKilled(ctx context.Context, b *bench) (result, error) {
	return balance(ctx, b, 300*time.Millisecond, func(s *server, reconnect *sync.RWMutex, back func() error) error {
		for i := range slots {
			if err := back(); err != nil {
				return err
			}
			name := fmt.Sprintf("serve.%d", i)
			reconnect.Lock()
			err := replaceChild(s, name)
			reconnect.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// replaceChild kills the process of a slot and waits until all slots are live again.
func replaceChild(s *server, name string) error {
	old := s.pids()[name]
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		return err
	}
	return eventually("the child is replaced", func() bool {
		now := s.pids()[name]
		return now != 0 && now != old && len(s.live()) == slots
	})
}

// balanceReloaded replaces every child by a reload. Clients reconnect after a short pause.
func balanceReloaded(ctx context.Context, b *bench) (result, error) {
	return balance(ctx, b, 50*time.Millisecond, func(s *server, _ *sync.RWMutex, back func() error) error {
		if err := back(); err != nil {
			return err
		}
		old := s.pids()
		s.signal(syscall.SIGHUP)
		return eventually("the reload is done, and the old children have ended", func() bool {
			for name, pid := range old {
				if name != "store.0" && syscall.Kill(pid, 0) == nil {
					return false
				}
			}
			return s.reloaded()
		})
	})
}

// balance keeps connections open while all children are replaced. It fails if the
// connections are unbalanced after all clients have connected again. While replace holds the
// lock reconnect, no client reconnects.
func balance(ctx context.Context, b *bench, pause time.Duration, replace func(s *server, reconnect *sync.RWMutex, back func() error) error) (r result, err error) {
	s, err := b.start(ctx, b.binary)
	if err != nil {
		return r, err
	}
	if err := s.awaitLive(); err != nil {
		return r, err
	}
	holding, release := context.WithCancel(ctx)
	var holders sync.WaitGroup
	var reconnect sync.RWMutex
	for range connections {
		holders.Go(func() { hold(holding, s.addr, &reconnect, pause) }) // ends with holding
	}
	defer holders.Wait()
	defer release()
	back := func() error {
		return eventually("all connections are open", func() bool {
			sum, _, _ := s.held()
			return sum == connections && len(s.live()) == slots
		})
	}
	if err := replace(s, &reconnect, back); err != nil {
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

// held returns the sum of the connections of all serve slots, and the smallest and the
// largest number.
func (s *server) held() (sum, least, most int) {
	least = connections
	for _, sl := range s.live() {
		sum, least, most = sum+sl.Connections, min(least, sl.Connections), max(most, sl.Connections)
	}
	return sum, least, most
}

// hold sends one request and keeps the connection open. When the connection is lost, hold
// waits for the lock and reconnects after a random time between 0.5 and 1.5 times pause.
func hold(ctx context.Context, addr string, reconnect *sync.RWMutex, pause time.Duration) {
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
		reconnect.RLock()
		reconnect.RUnlock() //nolint:staticcheck // waits only
		if pause > 0 {
			<-time.After(pause/2 + rand.N(pause))
		}
	}
}

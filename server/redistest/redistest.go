// Package redistest gives tests the two servers that Gale shares state through:
// a redis-server of their own, and the store slot.
package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gale/server/memory"
	"gale/server/redisdb"
)

// patience is how long a server may take to begin.
const patience = 10 * time.Second

// Each runs test against either server; address is for redisdb.Open.
func Each(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("store slot", func(t *testing.T) { test(t, Memory(t)) })
	t.Run("redis-server", func(t *testing.T) { test(t, Start(t).Address) })
}

// Open opens a client that ends with the test.
func Open(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	c, err := redisdb.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Memory runs a store slot's server until the test ends and returns its address.
func Memory(t *testing.T) string {
	t.Helper()
	place, err := memory.Reserve("")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := memory.Listen(t.Context(), place.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- memory.Serve(ctx, ln, "secret", time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := place.Release(); err != nil {
			t.Error(err)
		}
	})
	return "redis://:secret@" + place.Addr
}

// Process is a redis-server on a socket in a temporary folder.
type Process struct {
	Address string // unix:///…
	t       *testing.T
	socket  string
	cmd     *exec.Cmd
}

// Start starts a redis-server that ends with the test. A machine without one
// fails the test.
func Start(t *testing.T) *Process {
	t.Helper()
	// Not t.TempDir: the path of a socket is at most 108 bytes long (unix(7)).
	dir, err := os.MkdirTemp("", "redis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Process{t: t, socket: filepath.Join(dir, "redis.sock")}
	p.Address = "unix://" + p.socket
	p.Begin()
	t.Cleanup(p.Kill)
	return p
}

// Begin starts the server, empty, and waits until it answers.
func (p *Process) Begin() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.Background(), "redis-server", "--port", "0", "--unixsocket", p.socket, "--save", "", "--dir", filepath.Dir(p.socket))
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("redis-server, Debian package redis-server: %v", err)
	}
	for deadline := time.Now().Add(patience); ; {
		nc, err := new(net.Dialer).DialContext(context.Background(), "unix", p.socket)
		if err == nil {
			_ = nc.Close()
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("redis-server does not begin: %v", err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Kill kills the server, if it runs.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Package redistest runs redis-server processes for tests. Each uses a free port of
// 127.0.0.1 and a temporary folder, and is killed at the end of its test. The test fails
// if redis-server is not installed.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// timeout is the time that a server has to become ready.
const timeout = time.Minute

// Server is one redis-server. It has the same port and folder after Kill and Restart.
type Server struct {
	Addr string // host:port

	dir    string
	args   []string
	log    bytes.Buffer
	cmd    *exec.Cmd
	client *redis.Client
}

// Start starts a server. settings are arguments of redis-server, such as "--appendonly",
// "yes". Without settings the server stores nothing on disk.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	port := freePort(tb)
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: tb.TempDir()}
	s.args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--daemonize", "no", "--databases", "2",
	}, settings...)
	o := &redis.Options{Addr: s.Addr, MaxRetries: -1, DialTimeout: time.Second}
	if i := slices.Index(settings, "--requirepass"); i >= 0 {
		o.Password = settings[i+1]
	}
	s.client = redis.NewClient(o)
	tb.Cleanup(func() {
		_ = s.client.Close()
		s.Kill()
	})
	s.Restart(tb)
	return s
}

// StartAOF starts a server with an append-only file that is synced once a second, as
// recommended for tasks. Its data survives kill -9.
func StartAOF(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, "--appendonly", "yes", "--appendfsync", "everysec")
}

// StartDurable starts a server that syncs its append-only file before each response. A
// server of StartAOF can lose writes if it is killed during a slow fsync.
func StartDurable(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, "--appendonly", "yes", "--appendfsync", "always")
}

// URL is the address for redis.ParseURL.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Client is a client of the server, which is closed at the end of the test.
func (s *Server) Client() *redis.Client { return s.client }

// Restart starts the server after Kill, and waits until it responds.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.cmd = exec.CommandContext(context.Background(), "redis-server", s.args...) // Kill ends it
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // ends it if the test panics
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("redis-server: %v; install Debian's redis-server", err)
	}
	eventually(tb, s, func(ctx context.Context) error { return s.client.Ping(ctx).Err() })
}

// Kill sends SIGKILL, and waits until the server has exited.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// Stop sends SIGSTOP: connections stay open, and the server does not respond.
func (s *Server) Stop(tb testing.TB) { s.signal(tb, syscall.SIGSTOP) }

// Continue sends SIGCONT.
func (s *Server) Continue(tb testing.TB) { s.signal(tb, syscall.SIGCONT) }

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("signal redis-server: %v", err)
	}
}

// StartCluster starts a cluster of three masters. It returns their URLs, separated by
// commas.
func StartCluster(tb testing.TB) string {
	tb.Helper()
	const nodes, slots = 3, 16384
	var all []*Server
	var urls []string
	for range nodes {
		s := Start(tb, "--cluster-enabled", "yes", "--cluster-config-file", filepath.Join(tb.TempDir(), "nodes.conf"))
		all, urls = append(all, s), append(urls, s.URL())
	}
	ctx, cancel := context.WithTimeout(tb.Context(), timeout)
	defer cancel()
	for i, s := range all {
		if err := s.client.ClusterAddSlotsRange(ctx, i*slots/nodes, (i+1)*slots/nodes-1).Err(); err != nil {
			tb.Fatalf("cluster: %v", err)
		}
		host, port, err := net.SplitHostPort(all[0].Addr)
		if err != nil {
			tb.Fatal(err)
		}
		if err := s.client.ClusterMeet(ctx, host, port).Err(); err != nil {
			tb.Fatalf("cluster: %v", err)
		}
	}
	for _, s := range all {
		eventually(tb, s, func(ctx context.Context) error {
			info, err := s.client.ClusterInfo(ctx).Result()
			complete := strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", nodes))
			if err == nil && !complete {
				err = fmt.Errorf("the cluster is not complete: %s", info)
			}
			return err
		})
	}
	return strings.Join(urls, ",")
}

// eventually polls until ok returns nil.
func eventually(tb testing.TB, s *Server, ok func(context.Context) error) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(timeout); ; <-tick.C {
		err := ok(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.Kill() // completes its log
			tb.Fatalf("redis-server at %s: %v\n%s", s.Addr, err, s.log.String())
		}
	}
}

// freePort returns a free port. The port 10,000 above it is free, too, because a node of a
// cluster also listens there.
func freePort(tb testing.TB) int {
	tb.Helper()
	var listen net.ListenConfig
	for range 100 {
		ln, err := listen.Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		if port+10_000 > 65_535 {
			continue
		}
		bus, err := listen.Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+10_000)))
		if err == nil {
			_ = bus.Close()
			return port
		}
	}
	tb.Fatal("no free port")
	return 0
}

// Package redistest runs real redis-servers for tests: each on a free port of
// 127.0.0.1, in a temporary folder, ended with its test. A machine without
// redis-server fails the test.
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

// patience is how long a server may take to answer.
const patience = time.Minute

// Server is one redis-server. It keeps its port and its folder over Kill and
// Restart.
type Server struct {
	Addr string

	dir    string
	args   []string
	log    bytes.Buffer
	cmd    *exec.Cmd
	client *redis.Client
}

// Start starts a server with settings as redis-server takes them, such as
// "--appendonly", "yes". Without any it keeps nothing on disk.
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

// StartAOF starts a server that survives kill -9, as one for tasks should be
// configured.
func StartAOF(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, "--appendonly", "yes", "--appendfsync", "everysec")
}

// StartDurable starts a server that has on disk whatever it has answered: with
// everysec, a kill in the middle of a slow fsync loses what came behind it.
func StartDurable(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, "--appendonly", "yes", "--appendfsync", "always")
}

// URL is the address as redis.ParseURL takes it.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Client is a client of the server; it ends with the test.
func (s *Server) Client() *redis.Client { return s.client }

// Restart starts the server again after Kill and waits until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.cmd = exec.CommandContext(context.Background(), "redis-server", s.args...) // Kill ends it
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics leaves none behind
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("redis-server: %v; install Debian's redis-server", err)
	}
	eventually(tb, s, func(ctx context.Context) error { return s.client.Ping(ctx).Err() })
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// Stop stops the server with SIGSTOP: connections stay and nothing answers.
func (s *Server) Stop(tb testing.TB) { s.signal(tb, syscall.SIGSTOP) }

// Continue undoes Stop.
func (s *Server) Continue(tb testing.TB) { s.signal(tb, syscall.SIGCONT) }

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("signal redis-server: %v", err)
	}
}

// StartCluster starts a cluster of three masters and returns its address, that
// of its nodes, comma separated.
func StartCluster(tb testing.TB) string {
	tb.Helper()
	const nodes, slots = 3, 16384
	var all []*Server
	var urls []string
	for range nodes {
		s := Start(tb, "--cluster-enabled", "yes", "--cluster-config-file", filepath.Join(tb.TempDir(), "nodes.conf"))
		all, urls = append(all, s), append(urls, s.URL())
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
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
			together := strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", nodes))
			if err == nil && !together {
				err = fmt.Errorf("not together yet: %s", info)
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
	for end := time.Now().Add(patience); ; <-tick.C {
		err := ok(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.Kill() // its log is whole then
			tb.Fatalf("redis-server at %s: %v\n%s", s.Addr, err, s.log.String())
		}
	}
}

// freePort finds a port that nobody listens on, here or, as a cluster needs it
// too, 10,000 above.
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

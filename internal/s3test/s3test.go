// Package s3test runs an object storage service for tests: the Versity S3 Gateway on a
// temporary folder. The Makefile builds it in bin/tools. Each one uses a free port, and is
// killed at the end of its test.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
)

// Credentials of the gateway.
const (
	AccessKey = "gale"
	SecretKey = "gale-secret" //nolint:gosec // of a test
)

// Bucket is the bucket that a gateway has from the start.
const Bucket = "files"

// Gateway is a gateway. It has the same port and folder after Kill and Restart.
type Gateway struct {
	Addr string // host:port
	Dir  string // folder of the bucket: a file for each object

	root string
	log  bytes.Buffer
	cmd  *exec.Cmd
}

// Start starts a gateway on 127.0.0.1 that keeps its objects below dir.
func Start(tb testing.TB, dir string) *Gateway {
	tb.Helper()
	return StartOn(tb, dir, "127.0.0.1")
}

// StartOn is like Start on another address of this machine.
func StartOn(tb testing.TB, dir, host string) *Gateway {
	tb.Helper()
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	g := &Gateway{Addr: ln.Addr().String(), root: filepath.Join(dir, "gateway")}
	g.Dir = filepath.Join(g.root, Bucket) // a folder is a bucket
	if err := errors.Join(ln.Close(), os.MkdirAll(g.Dir, 0o700)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.Kill)
	g.Restart(tb)
	return g
}

// binary returns the path of the gateway's program, in the folder of the module.
func binary() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "bin", "tools", "versitygw")
			_, err = os.Stat(path)
			return path, err
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
	}
	return "", err
}

// Restart starts the gateway after Kill, and waits until it responds.
func (g *Gateway) Restart(tb testing.TB) {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatalf("find the gateway, which make e2e builds: %v", err)
	}
	g.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), path, "--port", g.Addr, "--quiet", "posix", g.root)
	g.cmd.Env = append(g.cmd.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	g.cmd.Stdout, g.cmd.Stderr = &g.log, &g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	testutil.Eventually(tb, "the gateway responds", func() bool {
		r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+g.Addr+"/", nil)
		if err != nil {
			tb.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

// Kill kills the gateway.
func (g *Gateway) Kill() {
	if g.cmd != nil && g.cmd.Process != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait() // was killed
		g.cmd = nil
	}
}

// Pause stops the gateway: it accepts connections, and does not respond.
func (g *Gateway) Pause(tb testing.TB) { g.signal(tb, syscall.SIGSTOP) }

// Continue ends a Pause.
func (g *Gateway) Continue(tb testing.TB) { g.signal(tb, syscall.SIGCONT) }

func (g *Gateway) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		tb.Fatal(err)
	}
}

// URL is the value of -files for a prefix.
func (g *Gateway) URL(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=http://%s", Bucket, strings.Trim(prefix, "/"), g.Addr)
}

// Setenv sets the credentials in the environment of a test and the programs it starts.
func Setenv(tb testing.TB) {
	tb.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	tb.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
}

package harness

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// Server is a running server.
type Server struct {
	Cmd    *exec.Cmd
	URL    string // such as http://127.0.0.1:40123; empty for server worker
	Admin  string // address of the admin endpoint, such as 127.0.0.1:40124
	Log    *testutil.LogBuffer
	Exited chan struct{} // closed when the process has ended

	exitErr error // valid after Exited is closed
}

// Launch starts a server in dir, on free ports unless args name others, and waits
// until all of its slots are live.
func Launch(dir string, args ...string) (*Server, error) {
	cmd := exec.Command(Binary(), OnFreePorts(args)...)
	cmd.Dir = dir
	return LaunchAs(cmd)
}

// OnFreePorts adds flags for free ports to args. If args contain no command, it adds serve.
func OnFreePorts(args []string) []string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"serve"}, args...)
	}
	return append([]string{args[0], "-port", "0", "-admin", "127.0.0.1:0"}, args[1:]...)
}

// LaunchAs is like Launch for a command that the caller has prepared.
func LaunchAs(cmd *exec.Cmd) (*Server, error) {
	g := &Server{Cmd: cmd, Log: &testutil.LogBuffer{}, Exited: make(chan struct{})}
	g.Cmd.Stdout, g.Cmd.Stderr = g.Log, g.Log
	if err := g.Cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		g.exitErr = g.Cmd.Wait()
		close(g.Exited)
	}()
	for deadline := time.Now().Add(testutil.Patience); ; {
		if strings.Contains(g.Log.String(), "msg=ready") {
			g.readAddresses() // the lines with the addresses precede this one
			return g, nil
		}
		select {
		case <-g.Exited:
			return nil, fmt.Errorf("server ended: %w\n%s", g.exitErr, g.Log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			g.Kill()
			return nil, fmt.Errorf("server is not ready after %v\n%s", testutil.Patience, g.Log)
		}
	}
}

// readAddresses sets URL and Admin from the log.
func (g *Server) readAddresses() {
	for lines := bufio.NewScanner(strings.NewReader(g.Log.String())); lines.Scan(); {
		for word := range strings.FieldsSeq(lines.Text()) {
			if url, ok := strings.CutPrefix(word, "url="); ok {
				g.URL = url
			}
			if addr, ok := strings.CutPrefix(word, "addr="); ok && strings.Contains(lines.Text(), "admin endpoint") {
				g.Admin = addr
			}
		}
	}
}

// Kill kills the master and waits until its children have ended too: their output
// goes to Log.
func (g *Server) Kill() {
	_ = g.Cmd.Process.Kill()
	<-g.Exited
}

// Wait waits until the server has ended and returns its exit status as exec.Cmd.Wait
// does. After testutil.Patience it kills the server and returns an error.
func (g *Server) Wait() error {
	select {
	case <-g.Exited:
		return g.exitErr
	case <-time.After(testutil.Patience):
		g.Kill()
		return fmt.Errorf("server did not end within %v\n%s", testutil.Patience, g.Log)
	}
}

// Start launches a server in dir and kills it at the end of the test.
func Start(t *testing.T, dir string, args ...string) *Server {
	t.Helper()
	g, err := Launch(dir, args...)
	return MustStart(t, g, err)
}

// MustStart takes the results of Launch or LaunchAs. An error ends the test. The
// server is killed at the end of the test, and its log is printed if the test has
// failed.
func MustStart(t *testing.T, g *Server, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("server's log:\n%s", g.Log)
		}
	})
	return g
}

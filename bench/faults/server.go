package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// slots is the number of serve slots.
const slots = 4

// bench holds the binaries for all faults, in a temporary folder.
type bench struct {
	dir    string
	binary string // the unchanged server
}

// patch replaces a piece of the server's source in a build.
type patch struct{ file, old, new string }

func newBench(ctx context.Context) (*bench, error) {
	dir, err := os.MkdirTemp("", "gale-faults-")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	b.binary, err = b.build(ctx, "server")
	return b, err
}

// build builds a server with the patches (go build -overlay).
func (b *bench) build(ctx context.Context, name string, patches ...patch) (string, error) {
	replace := map[string]string{}
	for i, p := range patches {
		text, err := os.ReadFile(p.file)
		if err != nil {
			return "", err
		}
		if strings.Count(string(text), p.old) != 1 {
			return "", fmt.Errorf("%s: does not contain %q once", p.file, p.old)
		}
		path, err := filepath.Abs(p.file)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(b.dir, fmt.Sprintf("%s-%d.go", name, i))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), p.old, p.new, 1)), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, name+".json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(b.dir, name)
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", file, "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// server is a running server.
type server struct {
	dir    string
	binary string // path of its own copy of the binary
	cmd    *exec.Cmd
	exited chan struct{}
	addr   string
	admin  string
}

// start runs a copy of the binary with extra flags until it is ready.
func (b *bench) start(ctx context.Context, binary string, flags ...string) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, binary: filepath.Join(dir, "server"), exited: make(chan struct{})}
	if err := s.install(binary); err != nil {
		return nil, err
	}
	if err := s.configure("log-level debug\n"); err != nil {
		return nil, err
	}
	log, err := os.Create(s.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the server has its own copy
	args := append([]string{
		"-port", "0", "-admin", "127.0.0.1:0", "-procs", strconv.Itoa(slots), "-data", s.path("data"), "-config", s.path("config"),
	}, flags...)
	s.cmd = exec.CommandContext(ctx, s.binary, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.exited) }() // ends with the server
	err = eventually("the server is ready", func() bool {
		s.addr, s.admin = s.logged("msg=listening ", "addr="), s.logged(`msg="admin endpoint"`, "addr=")
		return s.addr != "" && s.admin != ""
	})
	return s, err
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// install replaces the running binary as a deployment does: it writes a file beside it
// and renames it.
func (s *server) install(binary string) error {
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.binary+".new", text, 0o700); err != nil { //nolint:gosec // a program
		return err
	}
	return os.Rename(s.binary+".new", s.binary)
}

func (s *server) configure(text string) error {
	return os.WriteFile(s.path("config"), []byte(text), 0o600)
}

// logged returns a field of the last line of the log that contains a text.
func (s *server) logged(text, field string) (value string) {
	log, err := os.Open(s.path("log"))
	if err != nil {
		return ""
	}
	defer log.Close() //nolint:errcheck // only read
	for scan := bufio.NewScanner(log); scan.Scan(); {
		if _, rest, ok := strings.Cut(scan.Text(), field); ok && strings.Contains(scan.Text(), text) {
			value, _, _ = strings.Cut(rest, " ")
		}
	}
	return value
}

// count returns how often the log contains a text.
func (s *server) count(text string) int {
	log, err := os.ReadFile(s.path("log"))
	if err != nil {
		return 0
	}
	return strings.Count(string(log), text)
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// stop ends the server. Its exit status must be 0.
func (s *server) stop() error {
	s.signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(40 * time.Second):
		_ = s.cmd.Process.Kill()
		return errors.New("the server has not stopped")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the server's exit status is %d", code)
	}
	return nil
}

// status is the response of GET /status.
type status struct {
	PID          int    `json:"pid"`
	ReloadFailed string `json:"reload_failed"`
	Slots        []slot `json:"slots"`
}

type slot struct {
	Slot, Role, State string
	PID               int
	Restarts          int
	Connections       int
}

func (s *server) status() (st status, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.admin + "/status") //nolint:noctx // has a timeout
	if err != nil {
		return st, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// live returns the live serve slots.
func (s *server) live() (live []slot) {
	st, err := s.status()
	if err != nil {
		return nil
	}
	for _, sl := range st.Slots {
		if sl.Role == "serve" && sl.State == "live" {
			live = append(live, sl)
		}
	}
	return live
}

// serveSlots returns the number of serve slots in any state, or -1 without a response.
func (s *server) serveSlots() (n int) {
	st, err := s.status()
	if err != nil {
		return -1
	}
	for _, sl := range st.Slots {
		if sl.Role == "serve" {
			n++
		}
	}
	return n
}

// awaitLive waits until all serve slots are live.
func (s *server) awaitLive() error {
	return eventually("all serve slots are live", func() bool { return len(s.live()) == slots })
}

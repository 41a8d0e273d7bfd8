//go:build e2e

// Package importing tests an application in another module. It gets Gale by go get,
// without the network.
package importing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const modulePath = "github.com/galeserver/gale"

// module is the folder of a module that requires Gale v0.1.0.
type module struct {
	dir     string
	environ []string
}

// publish commits this checkout, with uncommitted changes, to a Git repository with the
// tag v0.1.0. It returns the repository's work tree, and the environment in which go get
// finds the module without the network.
func publish(t *testing.T) (work string, environ []string) {
	t.Helper()
	root, bare := filepath.Join("..", ".."), filepath.Join(t.TempDir(), "gale.git")
	work = filepath.Join(t.TempDir(), "gale")
	files := run(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	for name := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		copyFile(t, filepath.Join(root, name), filepath.Join(work, name))
	}
	git := func(args ...string) {
		t.Helper()
		identity := []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com"}
		run(t, work, identity, "git", args...)
	}
	git("init", "-q", "-b", "main")
	git("add", "-A", "-f")
	git("commit", "-q", "-m", "v0.1.0")
	git("tag", "v0.1.0")
	git("clone", "-q", "--bare", work, bare)

	real := strings.TrimSpace(run(t, root, nil, "go", "env", "GOMODCACHE"))
	run(t, root, nil, "go", "mod", "download")
	return work, []string{
		"GOMODCACHE=" + filepath.Join(t.TempDir(), "modules"), "GOPROXY=file://" + filepath.Join(real, "cache", "download"),
		"GOSUMDB=off", "GOPRIVATE=" + modulePath, "GOFLAGS=-trimpath -modcacherw", "GOWORK=off", "CGO_ENABLED=0",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=url." + bare + ".insteadOf", "GIT_CONFIG_VALUE_0=https://" + modulePath,
		"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
	}
}

// newModule creates a module that gets Gale v0.1.0 from a repository of this checkout.
func newModule(t *testing.T) *module {
	t.Helper()
	_, environ := publish(t)
	m := &module{dir: t.TempDir(), environ: environ}
	m.run(t, "go", "mod", "init", "example.com/shop")
	m.run(t, "go", "get", modulePath+"@v0.1.0")
	return m
}

func (m *module) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return run(t, m.dir, m.environ, program, args...)
}

// build writes text to main.go and builds the program as name.
func (m *module) build(t *testing.T, text, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "main.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run(t, "go", "mod", "tidy")
	m.run(t, "go", "build", "-o", name, ".")
}

func run(t *testing.T, dir string, environ []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		return // deleted, and not committed yet
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, content, info.Mode().Perm())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shop is the running program.
type shop struct {
	*harness.Server
	t *testing.T
}

// serve starts a program in the folder of the module.
func (m *module) serve(t *testing.T, program string, args ...string) *shop {
	t.Helper()
	cmd := exec.Command(filepath.Join(m.dir, program), append([]string{"-port", "0", "-admin", "127.0.0.1:0", "-data", t.TempDir()}, args...)...)
	cmd.Dir = m.dir
	g, err := harness.LaunchAs(cmd)
	return &shop{harness.MustStart(t, g, err), t}
}

// get sends GET and returns status and body. The status is 0 without a response.
func (s *shop) get(path string) (status int, body string) {
	status, body, err := harness.Get(s.URL + path)
	if err != nil {
		return 0, err.Error()
	}
	return status, body
}

// order posts an order and waits for its task.
func (s *shop) order(customer string) (id string) {
	s.t.Helper()
	var task harness.Task
	if code := harness.SendJSON(s.t, http.MethodPost, s.URL+"/orders", fmt.Sprintf(`{"customer":%q,"copies":2}`, customer), &task); code != http.StatusAccepted || task.ID == "" {
		s.t.Fatalf("POST /orders: %d", code)
	}
	return task.ID
}

func (s *shop) awaitPrinted(id, customer string) {
	s.t.Helper()
	s.awaitResult(id, `"printed for `+customer+`"`)
}

func (s *shop) awaitResult(id, want string) {
	s.t.Helper()
	if task := harness.AwaitTask(s.t, s.Server, id); task.State != "success" || string(task.Result) != want {
		s.t.Errorf("result of the order: %+v, want %s", task, want)
	}
}

// kill kills the process of a slot and waits for the next one.
func (s *shop) kill(slot string) {
	s.t.Helper()
	was := s.Slots(s.t)[slot].PID
	if was == 0 {
		s.t.Fatalf("no process in %s", slot)
	}
	if err := syscall.Kill(was, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	testutil.Eventually(s.t, slot+" has a new process", func() bool {
		now := s.Slots(s.t)[slot].PID
		return now != 0 && now != was
	})
}

// An application in another module has all features of Gale's server.
func TestE2EApplicationInAnotherModule(t *testing.T) {
	text, err := os.ReadFile("testdata/main.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	first := string(text)
	m := newModule(t)
	m.build(t, first, "bin")
	s := m.serve(t, "bin", "-procs", "2", "-workers", "1")

	if status, body := s.get("/hello/x"); status != 200 || body != "Hello, x" {
		t.Errorf("GET /hello/x: %d %q", status, body)
	}
	s.awaitPrinted(s.order("Ann"), "Ann")
	var fault struct{ Reason string }
	if code := harness.SendJSON(t, http.MethodPost, s.URL+"/orders", `{"customer":"Ann"}`, &fault); code != http.StatusBadRequest || !strings.Contains(fault.Reason, "copies") {
		t.Errorf("an order without copies: %d %s", code, fault.Reason)
	}
	s.crossSite()

	s.kill("worker.0")
	s.awaitPrinted(s.order("Bea"), "Bea")
	for _, slot := range []string{"serve.0", "serve.1"} {
		s.kill(slot)
		testutil.Eventually(t, slot+" serves again", func() bool { status, _ := s.get("/hello/x"); return status == 200 })
	}
	if status, body := s.get("/console"); status != 200 || !strings.Contains(body, "<html") {
		t.Errorf("GET /console: %d", status)
	}
	if list := m.run(t, "./bin", "tasks", "list", "-data", s.data()); !strings.Contains(list, "print_order") {
		t.Errorf("tasks list:\n%s", list)
	}
	if got := m.run(t, "./bin", "version"); !regexp.MustCompile(`shop .*gale v0\.1\.0`).MatchString(got) {
		t.Errorf("version: %q", got)
	}

	// The next version has an own flag and another response.
	second := strings.NewReplacer(`"Hello, "`, `"Welcome, "`, "func main() {", "var most int\n\nfunc main() {",
		`Name:  "shop",`, "Name:  \"shop\",\n\t\tFlags: func(f *flag.FlagSet) { f.IntVar(&most, \"most\", 10, \"copies of an order at most\") },",
		"import (\n", "import (\n\t\"flag\"\n").Replace(first)
	before := s.Slots(t)
	m.build(t, second, "bin.new")
	if err := os.Rename(filepath.Join(m.dir, "bin.new"), filepath.Join(m.dir, "bin")); err != nil {
		t.Fatal(err)
	}
	if err := s.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "all children are replaced", func() bool {
		for name, slot := range s.Slots(t) {
			if slot.PID == 0 || strings.HasPrefix(name, "serve") && slot.PID == before[name].PID {
				return false
			}
		}
		_, body := s.get("/hello/x")
		return body == "Welcome, x"
	})
	m.wrongFlag(t)
}

// data returns the -data folder of the server.
func (s *shop) data() string {
	for i, arg := range s.Cmd.Args {
		if arg == "-data" {
			return s.Cmd.Args[i+1]
		}
	}
	return ""
}

// crossSite posts an order from a page of another origin.
func (s *shop) crossSite() {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.URL+"/orders", strings.NewReader("customer=Eve&copies=1"))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://elsewhere.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		s.t.Errorf("an order from a page of another origin: %d", resp.StatusCode)
	}
}

// wrongFlag checks that wrong values of the own flag are refused, from every source.
func (m *module) wrongFlag(t *testing.T) {
	t.Helper()
	for name, try := range map[string]struct {
		args    []string
		environ string
	}{
		"command line": {[]string{"check", "-most", "many"}, "X=1"},
		"environment":  {[]string{"check"}, "SHOP_MOST=many"},
	} {
		cmd := exec.Command(filepath.Join(m.dir, "bin"), try.args...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), try.environ)
		out, err := cmd.CombinedOutput()
		exit, failed := errors.AsType[*exec.ExitError](err)
		if !failed || exit.ExitCode() != 2 || !bytes.Contains(bytes.ToLower(out), []byte("most:")) {
			t.Errorf("check with a wrong value from the %s: %v\n%s", name, err, out)
		}
	}
	lines := bufio.NewScanner(strings.NewReader(m.run(t, "./bin", "help", "serve")))
	for lines.Scan() {
		if strings.HasPrefix(strings.TrimSpace(lines.Text()), "-most") {
			return
		}
	}
	t.Error("help does not list -most")
}

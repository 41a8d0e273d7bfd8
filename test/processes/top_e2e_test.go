//go:build e2e

package processes_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// terminal is a shell in a window of tmux with 80 x 24 characters.
type terminal struct {
	t      *testing.T
	socket string
}

func newTerminal(t *testing.T, dir string) *terminal {
	t.Helper()
	short, err := os.MkdirTemp("", "tmux-") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	tty := &terminal{t, filepath.Join(short, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", tty.socket, "kill-server").Run()
		_ = os.RemoveAll(short)
	})
	tty.do("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", dir, "env", "-u", "NO_COLOR", "PS1=ready> ", "LANG=C.UTF-8", "sh")
	tty.await("ready>")
	return tty
}

// do runs a command of tmux.
func (tty *terminal) do(args ...string) string {
	tty.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-u", "-S", tty.socket}, args...)...).CombinedOutput()
	if err != nil {
		tty.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (tty *terminal) screen() string { return tty.do("capture-pane", "-p") }

// await waits until the screen matches a regular expression.
func (tty *terminal) await(pattern string) string {
	tty.t.Helper()
	text, re := "", regexp.MustCompile("(?m)"+pattern)
	tty.t.Cleanup(func() {
		if tty.t.Failed() {
			tty.t.Logf("awaited %s on\n%s", pattern, text)
		}
	})
	testutil.Eventually(tty.t, "the screen matches "+pattern, func() bool {
		text = tty.screen()
		return re.MatchString(text)
	})
	return text
}

// line types a line and Enter, keys press keys.
func (tty *terminal) line(text string) { tty.do("send-keys", text, "Enter") }
func (tty *terminal) keys(k ...string) { tty.do(append([]string{"send-keys"}, k...)...) }

// isRestored checks that the terminal is as before the command: the shell's screen, the cursor,
// and a line discipline that echoes.
func (tty *terminal) isRestored() {
	tty.t.Helper()
	testutil.Eventually(tty.t, "the screen of the shell is shown", func() bool {
		return tty.do("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
	})
	tty.line("clear; stty -a")
	text := tty.await(`[^-]icanon`)
	if strings.Contains(text, "-icanon") || strings.Contains(text, "-echo ") || strings.Contains(text, "-isig") {
		tty.t.Errorf("the terminal is not restored:\n%s", text)
	}
}

// TestE2ETop uses server top in a terminal: it shows slots, queues and tasks at 80 x 24, keys
// change them, and the terminal is restored at the end.
func TestE2ETop(t *testing.T) {
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "2", "-workers", "1")
	for i := range 3 {
		harness.PostTask(t, g, fmt.Sprintf(`{"task":"long_running_task","args":["%d"],"queue":"later","id":"task-%d"}`, i, i))
	}
	task := harness.PostTask(t, g, `{"task":"long_running_task","args":["x"]}`)
	harness.AwaitTask(t, g, task.ID)
	tty := newTerminal(t, dir)
	command := harness.Binary() + " top -interval 200ms -admin " + g.Admin
	tty.line("clear; sh -c 'echo $$ >pid; exec " + command + "'")
	tty.await(`^  serve\.1 +live +\d+ +0 +\d+ +\d+\.\d `)
	tty.await(`^  worker\.0 +live `)
	tty.await(`^  later +3 +0 +0 +0 +\d+\w +active`)
	text := tty.await(`^> ` + task.ID + ` +long_running_task +default +success +100% +\d+s`)
	t.Logf("at 80 x 24:\n%s", text)
	page, err := os.ReadFile("docs/howto/watch-in-a-terminal.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, heading := range regexp.MustCompile(`(?m)^  (SLOT|QUEUE|TASK ID) .*$`).FindAllString(text, -1) {
		if !strings.Contains(string(page), heading+"\n") {
			t.Errorf("docs/howto/watch-in-a-terminal.md does not have the line %q", heading)
		}
	}
	if coloured := tty.do("capture-pane", "-p", "-e"); !strings.Contains(coloured, "\x1b[32m") {
		t.Errorf("live is not green: %q", coloured)
	}

	tty.keys("Tab", "Tab") // the queues
	tty.await(`^> later +3 `)
	tty.keys("p")
	tty.await(`^> later .* paused`)
	if out := harness.Command(t, dir, "tasks", "queues"); !regexp.MustCompile(`(?m)^later .* yes$`).MatchString(out) {
		t.Errorf("the queue is not paused:\n%s", out)
	}
	tty.keys("p")
	tty.await(`^> later .* active`)
	tty.keys("Tab", "/")
	tty.keys("task-1", "Enter")
	tty.await(`^> task-1 +long_running_task +later +queued`)
	tty.keys("c")
	tty.await(`^ cancel task task-1\? y/n`)
	tty.keys("y")
	tty.await(`^> task-1 .* cancelled`)
	tty.keys("r")
	tty.await(`^> task-1 .* queued`)
	tty.do("resize-window", "-x", "60", "-y", "20")
	tty.await(`^server top needs a terminal of 80 x 16, this one has 60 x 20`)
	tty.do("resize-window", "-x", "100", "-y", "30")
	tty.await(`^> task-1 `)

	g.Kill()
	tty.await(`no server responds on 127\.0\.0\.1:\d+ \(connection refused\); trying again`)
	tty.keys("q")
	tty.isRestored()

	// A signal restores the terminal too, and without colours only text is different.
	tty.line("clear; NO_COLOR=1 sh -c 'echo $$ >pid; exec " + command + "'")
	tty.await(`^> `)
	if text := tty.do("capture-pane", "-p", "-e"); regexp.MustCompile(`\x1b\[([0-9;]*;)?[34][0-7]`).MatchString(text) {
		t.Errorf("colours despite NO_COLOR: %q", text)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tty.isRestored()
}

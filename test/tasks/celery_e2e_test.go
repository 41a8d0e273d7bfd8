//go:build e2e

package tasks_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/test/harness"
)

// TestE2ECeleryClient runs an unchanged Celery client against a server with -celery, whose
// worker, the process of the bridge, is killed when half of the results have come. Every task
// has its result.
func TestE2ECeleryClient(t *testing.T) {
	const count = 200
	file := harness.TasksFile(t, `
		[tasks.say]
		argv = ["sh", "-c", "sleep 0.05; printf %s \"$1\"", "sh", "{0}"]
		[tasks.two]
		argv = ["printf", "%s-%s", "{0}", "{1}"]
		[tasks.fail]
		argv = ["false"]`)
	broker := redistest.StartAOF(t).URL() + "/0"
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-tasks", file, "-celery", broker)
	client := exec.Command("/usr/bin/python3", "test/tasks/testdata/celery_client.py", broker, fmt.Sprint(count))
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	client.Stderr = &errs
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	ended := time.AfterFunc(5*time.Minute, func() { _ = client.Process.Kill() })
	defer ended.Stop()
	kill := func() {
		if err := syscall.Kill(g.Slots(t)["worker.0"].PID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	lines := bufio.NewReader(out)
	half, err := lines.ReadString('\n')
	if err != nil || half != "half\n" {
		t.Fatalf("%q, %v: %s", half, err, errs.String())
	}
	kill()
	text, err := io.ReadAll(lines)
	if waited := client.Wait(); waited != nil || err != nil {
		t.Fatalf("the client: %v, %v: %s\n%s", waited, err, errs.String(), text)
	}
	var got struct {
		Results, Grouped                      []string
		Gz, Failure, Revoked, Chained, Joined string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(got.Results) != count {
		t.Errorf("%d results, want %d", len(got.Results), count)
	}
	for i, result := range got.Results {
		if result != fmt.Sprint("n", i) {
			t.Errorf("result %d is %q", i, result)
		}
	}
	if got.Gz != "small" || !strings.Contains(got.Failure, "exit status 1") || got.Revoked != "revoked" || got.Chained != "b-c" ||
		strings.Join(got.Grouped, " ") != "1 2" || !strings.Contains(got.Joined, `"output":"x"`) || !strings.Contains(got.Joined, `"output":"y"`) {
		t.Errorf("%+v", got)
	}
	if n := g.Metrics(t).Sum("gale_celery_messages_total", "outcome=rejected"); n != 0 {
		t.Errorf("%v rejected messages", n)
	}
}

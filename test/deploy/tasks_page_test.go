package deploy_test

import (
	"os"
	"strings"
	"testing"
)

// docs/howto/write-a-command-task.md contains the shipped tasks file, which is tested.
func TestTasksPageShowsFile(t *testing.T) {
	shipped, err := os.ReadFile("deploy/tasks.toml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/howto/write-a-command-task.md")
	if err != nil {
		t.Fatal(err)
	}
	var bare []string
	for line := range strings.Lines(string(shipped)) {
		if !strings.HasPrefix(line, "#") {
			bare = append(bare, line)
		}
	}
	if want := "```toml\n" + strings.Join(bare, "") + "```\n"; !strings.Contains(string(page), want) {
		t.Errorf("docs/howto/write-a-command-task.md does not show deploy/tasks.toml:\n%s", want)
	}
}

// docs/howto/write-a-worker.md contains the shipped program and its file, which are tested.
func TestWorkerPageShowsFiles(t *testing.T) {
	page, err := os.ReadFile("docs/howto/write-a-worker.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"deploy/worker.sh", "deploy/worker.toml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		shown := string(text)
		if strings.HasSuffix(name, ".toml") {
			_, shown, _ = strings.Cut(shown, "\n") // without its comment
		}
		if !strings.Contains(string(page), "\n"+shown+"```\n") {
			t.Errorf("docs/howto/write-a-worker.md does not show %s:\n%s", name, shown)
		}
	}
}

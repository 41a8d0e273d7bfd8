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

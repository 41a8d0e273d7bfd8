package main

import (
	"os"
	"strings"
	"testing"
)

// The README shows the file of command tasks that is shipped, and tested.
func TestReadmeShowsTasksFile(t *testing.T) {
	shipped, err := os.ReadFile("deploy/tasks.toml")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var bare []string
	for line := range strings.Lines(string(shipped)) {
		if !strings.HasPrefix(line, "#") {
			bare = append(bare, line)
		}
	}
	if want := "```toml\n" + strings.Join(bare, "") + "```\n"; !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not show deploy/tasks.toml:\n%s", want)
	}
}

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are those whose commands are run as they stand, in the order in which
// somebody would follow them.
var pages = []string{"docs/deployment.md", "docs/operations.md", "docs/security.md"}

// block is a fenced block of a page.
type block struct {
	language string // the word behind the fence
	line     int    // of its first line
	text     string
}

// blocks finds the fenced blocks of a page (CommonMark §4.5, without tildes).
func blocks(page string) (found []block) {
	open := -1
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open < 0:
			open = len(found)
			found = append(found, block{language: strings.TrimSpace(fence), line: i + 2})
		case isFence:
			open = -1
		case open >= 0:
			found[open].text += line + "\n"
		}
	}
	return found
}

// commands are the blocks of a page in a language, as one script for bash -e that
// says before each command which line it comes from.
func commands(page, language string) (script string, n int) {
	var b strings.Builder
	for _, block := range blocks(page) {
		if block.language != language {
			continue
		}
		for i, line := range strings.Split(strings.TrimSuffix(block.text, "\n"), "\n") {
			n++
			fmt.Fprintf(&b, "# line %d\n%s\n", block.line+i, mustFail(line))
		}
	}
	return b.String(), n
}

// mustFail turns `! command`, which bash -e would let pass either way, into one
// that ends the script if the command succeeds.
func mustFail(line string) string {
	if bare, ok := strings.CutPrefix(line, "! "); ok {
		return "if " + bare + "; then exit 1; fi"
	}
	return line
}

func TestBlocks(t *testing.T) {
	page := "a\n```sh\none\ntwo\n```\ntext\n```\nother\n```\n```sh\n! three\n```\n"
	script, n := commands(page, "sh")
	want := "# line 3\none\n# line 4\ntwo\n# line 11\nif three; then exit 1; fi\n"
	if script != want || n != 3 {
		t.Errorf("%d commands:\n%s", n, script)
	}
}

// Commands that are no bash, flags that do not exist and links to nowhere are
// found without running anything.
func TestPages(t *testing.T) {
	var help strings.Builder
	for _, verb := range []string{"serve", "worker", "status", "tasks"} {
		out, err := exec.Command(binary, "help", verb).Output()
		if err != nil {
			t.Fatal(err)
		}
		help.Write(out)
	}
	for _, path := range append([]string{"README.md"}, pages...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		script, n := commands(string(text), "sh")
		if path != "README.md" && n == 0 {
			t.Errorf("%s has no commands", path)
		}
		parse := exec.Command("bash", "-n")
		parse.Stdin = strings.NewReader(script)
		if out, err := parse.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		for _, flag := range regexp.MustCompile("`(-[a-z][a-z-]+)[ `]").FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(help.String(), "\n  "+flag[1]) {
				t.Errorf("%s speaks of %s, which no command has", path, flag[1])
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := fs.Stat(os.DirFS("."), filepath.Join(filepath.Dir(path), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, link[1], err)
			}
		}
	}
}

// Every alert has its line in the operations page, and every line its alert.
func TestAlertsAreExplained(t *testing.T) {
	rules, err := os.ReadFile("deploy/prometheus/gale.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("deploy/prometheus/gale.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	for _, name := range named {
		if !strings.Contains(string(page), "\n| "+name[1]+" |") || !strings.Contains(string(tests), "alertname: "+name[1]+",") {
			t.Errorf("%s is not explained, or not tested", name[1])
		}
	}
	if explained := strings.Count(string(page), "\n| Gale"); explained != len(named) || explained < 10 {
		t.Errorf("%d alerts, %d explained", len(named), explained)
	}
}

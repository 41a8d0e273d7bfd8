package deploy_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// pages are the pages whose commands are run as they are, in the order of reading.
var pages = []string{
	"README.md", "docs/tutorial/first-server.md", "docs/tutorial/first-application.md",
	"docs/tutorial/from-tornado.md", "docs/tutorial/from-celery.md",
	"docs/reference/routes.md", "docs/reference/tasks.md", "docs/reference/uploads.md", "docs/reference/realtime.md",
	"docs/howto/write-a-command-task.md", "docs/howto/write-a-worker.md", "docs/howto/write-a-python-worker.md", "docs/reference/worker-protocol.md", "docs/howto/allow-other-origins.md",
	"docs/howto/deploy.md", "docs/howto/secure.md", "docs/howto/back-up-and-restore.md", "docs/howto/reverse-proxy.md",
	"docs/howto/scale.md", "docs/howto/monitor.md", "docs/howto/upgrade.md", "docs/howto/debug-a-stuck-task.md",
	"docs/howto/profile.md", "docs/howto/report-a-problem.md",
}

// README.md names the two commands that a new user needs, and the Makefile has both.
func TestReadmeNamesBothCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"run", "test"} {
		if !strings.Contains(string(readme), "`make "+target+"`") {
			t.Errorf("README.md does not name make %s", target)
		}
		if !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
			t.Errorf("the Makefile has no target %s", target)
		}
	}
}

// notRun is the start of a fence's info string if no test runs the block. The reason
// follows.
const notRun = "sh not run: "

// block is a fenced block of a page.
type block struct {
	language string // info string of the fence
	line     int    // number of its first line
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

// commands returns the blocks of a page in a language as one script for bash -e. It
// prints the line number before each command, and ends all processes of the page.
func commands(page, language string) (script string, n int) {
	var b strings.Builder
	for _, block := range blocks(page) {
		if block.language != language {
			continue
		}
		for i, line := range strings.Split(strings.TrimSuffix(block.text, "\n"), "\n") {
			n++
			fmt.Fprintf(&b, "# line %d\n%s\n", block.line+i, scripted(line))
		}
	}
	return b.String() + "jobs -rp | xargs -r kill || true\nwait\n", n
}

// scripted turns a line that a person types into a line of a script.
func scripted(line string) string {
	if line == "make run" { // the next line is for another terminal, when the server is ready
		return line + " &\nuntil curl -fsS http://127.0.0.1:8888/healthz; do sleep 0.2; done"
	}
	return mustFail(line)
}

// mustFail turns `! command` into a command that ends the script if command succeeds:
// bash -e ignores the status of `! command`.
func mustFail(line string) string {
	if bare, ok := strings.CutPrefix(line, "! "); ok {
		return "if " + bare + "; then exit 1; fi"
	}
	return line
}

func TestBlocks(t *testing.T) {
	page := "a\n```sh\none\ntwo\n```\ntext\n```\nother\n```\n```sh\n! three\n```\n```sh not run: why\nfour\n```\n"
	script, n := commands(page, "sh")
	want := "# line 3\none\n# line 4\ntwo\n# line 11\nif three; then exit 1; fi\njobs -rp | xargs -r kill || true\nwait\n"
	if script != want || n != 3 {
		t.Errorf("%d commands:\n%s", n, script)
	}
}

// everyPage returns all pages of the project.
func everyPage(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "docs/example/*/*.md", "bench/results/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	for _, page := range pages {
		if !slices.Contains(paths, page) {
			t.Errorf("there is no %s", page)
		}
	}
	return paths
}

// Commands that are not valid bash, commands that are not run without a reason, unknown
// flags and dead links are found without running anything.
func TestPages(t *testing.T) {
	flags := helpOf(t)
	for _, path := range everyPage(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := string(text)
		checkBlocks(t, path, page)
		checkFlags(t, path, page, flags)
		checkLinks(t, path, page)
	}
}

// languages are the info strings of blocks without commands.
var languages = []string{"", "go", "html", "toml", "json", "js", "python", "yaml"}

// typed matches the start of a line that the reader types.
var typed = regexp.MustCompile(`(?m)^(\$|make|curl|go|docker|systemctl|bin/server|server) `)

func checkBlocks(t *testing.T, path, page string) {
	t.Helper()
	for _, block := range blocks(page) {
		reason, unrun := strings.CutPrefix(block.language, notRun)
		switch {
		case block.language == "sh" && !slices.Contains(pages, path):
			t.Errorf("%s:%d: no test runs this page", path, block.line)
		case unrun && len(reason) < 10:
			t.Errorf("%s:%d: no reason after \"not run\"", path, block.line)
		case block.language == "sh" || unrun:
			parse := exec.Command("bash", "-n")
			parse.Stdin = strings.NewReader(block.text)
			if out, err := parse.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", path, block.line, err, out)
			}
		case !slices.Contains(languages, block.language):
			t.Errorf("%s:%d: unknown info string %q", path, block.line, block.language)
		case block.language == "" && typed.MatchString(block.text):
			t.Errorf("%s:%d: commands in a block without the info string sh", path, block.line)
		}
	}
}

// helpOf returns the help texts of all commands.
func helpOf(t *testing.T) string {
	t.Helper()
	var help strings.Builder
	for _, verb := range []string{"serve", "worker", "status", "top", "reload", "tasks", "backup", "debug"} {
		out, err := exec.Command(harness.Binary(), "help", verb).Output()
		if err != nil {
			t.Fatal(err)
		}
		help.Write(out)
	}
	return help.String()
}

var (
	// inText matches a flag in the text of a page.
	inText = regexp.MustCompile("`(-[a-z][a-z-]+)[ `]")
	// calls matches the calls of the server in a page, in text or in a block, up to
	// the next command.
	calls  = regexp.MustCompile("(?m)(?:^|[`(/ ])server(?: [A-Za-z0-9_.-]+)*? -[^`|&;)\n]*")
	inCall = regexp.MustCompile(" --?([a-z][a-z-]*)")
)

// notOurs are flags of other programs in the pages.
var notOurs = []string{"-race", "-trimpath"}

func checkFlags(t *testing.T, path, page, help string) {
	t.Helper()
	known := func(flag string) bool {
		return strings.Contains(help, "\n  "+flag+" ") || strings.Contains(help, "\n  "+flag+"\n") || flag == "-h" || slices.Contains(notOurs, flag)
	}
	for _, flag := range inText.FindAllStringSubmatch(page, -1) {
		if !known(flag[1]) {
			t.Errorf("%s names %s, which no command has", path, flag[1])
		}
	}
	for _, call := range calls.FindAllString(page, -1) {
		for _, flag := range inCall.FindAllStringSubmatch(call, -1) {
			if !known("-" + flag[1]) {
				t.Errorf("%s: %q: no command has -%s", path, call, flag[1])
			}
		}
	}
}

var (
	linkTo  = regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// checkLinks checks the links to files of the project and to headings in them.
func checkLinks(t *testing.T, path, page string) {
	t.Helper()
	for _, link := range linkTo.FindAllStringSubmatch(page, -1) {
		if strings.Contains(link[1], "://") {
			continue
		}
		target, text := path, page
		if link[1] != "" {
			target = filepath.Join(filepath.Dir(path), link[1])
			content, err := fs.ReadFile(os.DirFS("."), target)
			if err != nil && !isFolder(target) {
				t.Errorf("%s links to %s: %v", path, link[1], err)
			}
			text = string(content)
		}
		if link[2] != "" && !slices.Contains(anchors(text), link[2]) {
			t.Errorf("%s links to %s, which is no heading of %s", path, link[2], target)
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// anchors returns the anchors of the headings of a page.
func anchors(page string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		all = append(all, "#"+strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

// The patterns of the checks match what they should.
func TestChecksOfPages(t *testing.T) {
	if got := calls.FindAllString("`server worker -redis x -nope`\nbin/server -data d -tasks f &\nserver tasks list -json | x -y", -1); len(got) != 3 ||
		!strings.Contains(got[0], "-nope") || strings.Contains(got[2], "-y") {
		t.Errorf("calls %q", got)
	}
	if got := anchors("# A page\n## The answer, `x`\n"); !slices.Equal(got, []string{"#a-page", "#the-answer-x"}) {
		t.Errorf("anchors %q", got)
	}
	if !typed.MatchString("text\ncurl -s x\n") || typed.MatchString("  server [flags]\n") {
		t.Error("lines that the reader types are not found")
	}
}

// The index links every page, so a reader who looks there finds it.
func TestIndexLinksEveryPage(t *testing.T) {
	index, err := os.ReadFile("docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"tutorial", "howto", "reference", "explanation"} {
		pages, err := filepath.Glob("docs/" + folder + "/*.md")
		if err != nil || len(pages) == 0 {
			t.Fatalf("docs/%s: %d pages, %v", folder, len(pages), err)
		}
		for _, page := range pages {
			if link := "](" + strings.TrimPrefix(page, "docs/") + ")"; !strings.Contains(string(index), link) {
				t.Errorf("docs/README.md does not link %s", page)
			}
		}
	}
}

// Every alert has a line in the monitoring page, and every line has an alert.
func TestAlertsAreExplained(t *testing.T) {
	rules, err := os.ReadFile("deploy/prometheus/gale.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/howto/monitor.md")
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

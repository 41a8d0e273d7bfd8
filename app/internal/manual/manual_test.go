package manual

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/demo"
)

// Every generated document contains all commands and flags.
func TestDocumentsAreComplete(t *testing.T) {
	var page, bash, zsh, fish strings.Builder
	p := &config.Program{}
	day := time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)
	for _, err := range []error{Page(&page, p, "v1.2.3", day), Bash(&bash, p), Zsh(&zsh, p), Fish(&fish, p)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(page.String(), `.TH SERVER 1 "2026-01-02" "gale v1.2.3" "Gale"`) {
		t.Errorf("the page begins with %.60q", page.String())
	}
	has := func(what, text, part string) {
		if !strings.Contains(text, part) {
			t.Errorf("%s has no %q", what, part)
		}
	}
	for _, v := range config.Verbs() {
		has("page", page.String(), "\n.B "+v.Name+"\n")
		has("bash", bash.String(), "\n\t"+v.Name+")\n")
		has("zsh", zsh.String(), "\n\t"+v.Name+")\n")
		has("fish", fish.String(), " -a "+v.Name+" -d ")
		if !v.Flags {
			continue
		}
		for _, f := range p.FlagsOf(config.Command(v.Name)) {
			has("page", page.String(), `.B \-`+strings.ReplaceAll(f.Name, "-", `\-`))
			has("bash", bash.String(), "-"+f.Name+" ")
			has("zsh", zsh.String(), "'-"+f.Name+"[")
			has("fish", fish.String(), " -o "+f.Name+" ")
		}
	}
	for _, f := range p.FlagsOf(config.Serve) {
		has("page", page.String(), "\n.B "+f.Variable+"\n")
	}
}

// docs/reference/configuration.md is up to date.
func TestConfigurationIsCurrent(t *testing.T) {
	const path = "../../../docs/reference/configuration.md"
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := demo.New()
	p := &config.Program{Name: a.Name, Flags: a.Flags, OnUpload: a.UploadTasks[0].Name}
	var want strings.Builder
	if err := Configuration(&want, p); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.FlagsOf(config.Serve) {
		if !strings.Contains(want.String(), "\n| `-"+f.Name) || !strings.Contains(want.String(), "`"+f.Variable+"`") {
			t.Errorf("the page has no -%s", f.Name)
		}
	}
	if string(have) != want.String() {
		t.Errorf("%s does not match the flags: run make docs", path)
	}
}

// Special characters of each format are escaped.
func TestEscapes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{roff(`.mp3 and -x of 'a\b'`), `\&.mp3 and \-x of \(aqa\eb\(aq`},
		{cell(`a|b *.mp3 <x>`), `a\|b \*.mp3 &lt;x>`},
		{quote(`it's`), `'it'\''s'`},
		{zsh(`it's [a:b]`), `it'\''s \[a\:b\]`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// Package manual writes the manual page of `server`, the page about its
// configuration and the completions of shells from what config knows of commands and flags, so that they say what
// the program does.
package manual

import (
	"cmp"
	_ "embed"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/galeserver/gale/app/internal/config"
)

//go:embed server.1.tmpl
var pageText string

//go:embed configuration.md.tmpl
var configurationText string

//go:embed server.bash.tmpl
var bashText string

//go:embed server.zsh.tmpl
var zshText string

//go:embed server.fish.tmpl
var fishText string

// command is a verb with its flags.
type command struct {
	config.Verb
	Flags []config.Flag
}

// contents are what the templates are filled with.
type contents struct {
	Version  string
	Date     string
	Commands []command
}

func gather(p *config.Program) (c contents) {
	for _, v := range config.Verbs() {
		with := command{Verb: v}
		if v.Flags {
			with.Flags = p.FlagsOf(config.Command(v.Name))
		}
		c.Commands = append(c.Commands, with)
	}
	return c
}

// Command returns the verb of that name.
func (c contents) Command(name string) command {
	return c.Commands[slices.IndexFunc(c.Commands, func(v command) bool { return v.Name == name })]
}

// Synopsis returns all that may be typed behind the program's name.
func (c contents) Synopsis() (all []string) {
	for _, v := range c.Commands {
		all = append(all, v.Synopsis...)
	}
	return all
}

// Files are the flags, of any command, whose value is a file, Folders those
// where it is a folder, and Others those where it is something else.
func (c contents) Files() []string { return c.taking(func(v string) bool { return v == "file" }) }

// Folders: see Files.
func (c contents) Folders() []string { return c.taking(func(v string) bool { return v == "folder" }) }

// Others: see Files.
func (c contents) Others() []string {
	return c.taking(func(v string) bool { return v != "" && v != "file" && v != "folder" })
}

func (c contents) taking(what func(value string) bool) (names []string) {
	for _, v := range c.Commands {
		for _, f := range v.Flags {
			if what(f.Value) && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Page writes the manual page, for man(1), of a version made on a day.
func Page(w io.Writer, p *config.Program, version string, day time.Time) error {
	c := gather(p)
	c.Version, c.Date = cmp.Or(version, "(devel)"), day.UTC().Format(time.DateOnly)
	return write(w, pageText, c)
}

// Configuration writes the page about flags, in Markdown.
func Configuration(w io.Writer, p *config.Program) error {
	return write(w, configurationText, gather(p))
}

// Bash writes the completion for bash, to be sourced.
func Bash(w io.Writer, p *config.Program) error { return write(w, bashText, gather(p)) }

// Zsh writes the completion for zsh, a file _server in its fpath.
func Zsh(w io.Writer, p *config.Program) error { return write(w, zshText, gather(p)) }

// Fish writes the completion for fish, a file server.fish in its completions.
func Fish(w io.Writer, p *config.Program) error { return write(w, fishText, gather(p)) }

func write(w io.Writer, text string, c contents) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"roff": roff, "cell": cell, "quote": quote, "zsh": zsh, "words": func(s []string) string { return strings.Join(s, " ") },
		"flags": func(names []string) string { return "-" + strings.Join(names, "|-") },
	}).Parse(text)
	if err != nil {
		return err
	}
	return t.Execute(w, c)
}

// roff escapes a text for man(7): hyphens that can be copied, and no line that
// a leading dot or quote would turn into a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// cell escapes a text for a table in Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}

// quote makes one word of a text in a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// zsh escapes what means something in the specifications of _arguments and
// _describe; it goes between single quotes.
func zsh(text string) string {
	return strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}

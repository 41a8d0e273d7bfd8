// Package manual generates documents from the commands and flags of package config: the
// manual page, docs/reference/configuration.md and the completions of shells.
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

// command is a command with its flags.
type command struct {
	config.Verb
	Flags []config.Flag
}

// contents is the data of the templates.
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

// Command returns the command with the given name.
func (c contents) Command(name string) command {
	return c.Commands[slices.IndexFunc(c.Commands, func(v command) bool { return v.Name == name })]
}

// Synopsis returns the command lines of all commands, without the program's name.
func (c contents) Synopsis() (all []string) {
	for _, v := range c.Commands {
		all = append(all, v.Synopsis...)
	}
	return all
}

// FileFlags returns the names of the flags of all commands whose value is a file.
func (c contents) FileFlags() []string {
	return c.flagsByValue(func(v string) bool { return v == "file" })
}

// FolderFlags returns the names of the flags whose value is a folder.
func (c contents) FolderFlags() []string {
	return c.flagsByValue(func(v string) bool { return v == "folder" })
}

// OtherFlags returns the names of the flags with any other value.
func (c contents) OtherFlags() []string {
	return c.flagsByValue(func(v string) bool { return v != "" && v != "file" && v != "folder" })
}

// flagsByValue returns the names of the flags whose placeholder matches, sorted.
func (c contents) flagsByValue(matches func(value string) bool) (names []string) {
	for _, v := range c.Commands {
		for _, f := range v.Flags {
			if matches(f.Value) && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Page writes the manual page for man(1). The version and the day appear in its header
// and footer; an empty version is shown as (devel).
func Page(w io.Writer, p *config.Program, version string, day time.Time) error {
	c := gather(p)
	c.Version, c.Date = cmp.Or(version, "(devel)"), day.UTC().Format(time.DateOnly)
	return write(w, pageText, c)
}

// Configuration writes docs/reference/configuration.md.
func Configuration(w io.Writer, p *config.Program) error {
	return write(w, configurationText, gather(p))
}

// Bash writes a completion script for bash.
func Bash(w io.Writer, p *config.Program) error { return write(w, bashText, gather(p)) }

// Zsh writes a completion function for zsh, to be installed as _server.
func Zsh(w io.Writer, p *config.Program) error { return write(w, zshText, gather(p)) }

// Fish writes completions for fish, to be installed as server.fish.
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

// roff escapes a text for man(7). Escaped hyphens can be copied from the page; an escaped
// dot or quote at the start of a line is not read as a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// cell escapes a text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}

// quote quotes a text as one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// zsh escapes a text for the specifications of _arguments and _describe, inside single
// quotes.
func zsh(text string) string {
	return strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}

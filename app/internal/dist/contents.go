package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/manual"
	"github.com/galeserver/gale/demo"
)

// contents returns the files of an archive by name.
func contents(ctx context.Context, b binary) (map[string]file, error) {
	a := demo.New()
	p := &config.Program{Name: a.Name, Flags: a.Flags, OnUpload: a.UploadTasks[0].Name}
	files := map[string]file{"server": {b.content, true}}
	for name, write := range map[string]func(io.Writer) error{
		"man/man1/server.1":       func(w io.Writer) error { return manual.Page(w, p, b.version, b.time) },
		"completions/server.bash": func(w io.Writer) error { return manual.Bash(w, p) },
		"completions/_server":     func(w io.Writer) error { return manual.Zsh(w, p) },
		"completions/server.fish": func(w io.Writer) error { return manual.Fish(w, p) },
	} {
		var text bytes.Buffer
		if err := write(&text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = file{content: text.Bytes()}
	}
	return files, errors.Join(addTracked(ctx, files), addLicences(ctx, b, files))
}

// addTracked adds the documents and the deployment files of the commit.
func addTracked(ctx context.Context, files map[string]file) error {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--", "LICENSE", ":(glob)*.md", "docs", "deploy").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if slices.Contains([]string{".go", ".mod", ".sum"}, path.Ext(name)) {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files[name] = file{content, info.Mode()&0o100 != 0}
	}
	return nil
}

// licence matches the names of files that must be distributed together with the code.
var licence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([.-].*)?$`)

// addLicences adds the licences of all modules in the binary, and of Go.
func addLicences(ctx context.Context, b binary, files map[string]file) error {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module", ".")
	list.Env = b.environ
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	folders := map[string]string{"go": strings.TrimSpace(string(goroot))}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Dir string
				Main      bool
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			folders[p.Module.Path] = p.Module.Dir
		}
	}
	for module, dir := range folders {
		found, err := licencesIn(dir)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("module %s has no licence file", module)
		}
		for name, content := range found {
			files["licenses/"+module+"/"+name] = file{content: content}
		}
	}
	return nil
}

// licencesIn reads the licence files in the root folder of a module.
func licencesIn(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; run go mod download", err)
	}
	found := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() || !licence.MatchString(e.Name()) {
			continue
		}
		if found[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return found, err
}

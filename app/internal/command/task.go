package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/schedule"
)

// Files finds what was uploaded.
type Files interface {
	// Path returns the absolute path of a stored file, or an error if there is
	// none.
	Path(directory, filename string) (string, error)
}

// Env is where commands run.
type Env struct {
	Files Files
	// Path is the variable PATH, by which programs are found.
	Path string
	// Temp is where folders of running commands are made. Default: os.TempDir.
	Temp string
}

// result is what the task object says of a command that ended well.
type result struct {
	Output string `json:"output"` // the end of it
}

// Task makes the task of a command. A task with retry_codes is tried again
// after one of these, DefaultRetries times unless the task says otherwise; any
// other status than 0 is the end.
func Task(s Spec, e Env) jobs.Definition {
	d := jobs.Definition{
		Name: s.Name, Args: s.args(), Check: s.check, Timeout: s.Timeout, Queue: s.Queue,
		Handler: func(ctx context.Context, job *jobs.Job) error { return run(ctx, job, s, e) },
	}
	if s.Rate != "" {
		_ = d.Rate.UnmarshalText([]byte(s.Rate)) // Load has checked it
	}
	if len(s.RetryCodes) > 0 {
		d.MaxRetries = DefaultRetries
	}
	return d
}

func run(ctx context.Context, job *jobs.Job, s Spec, e Env) (err error) {
	args, err := texts(job)
	if err != nil {
		return jobs.NoRetry(err)
	}
	if len(args) != s.takes() {
		return fmt.Errorf("%w: %s takes %d, got %d", jobs.ErrArgs, s.Name, s.takes(), len(args))
	}
	file := ""
	if s.ofFile() && len(args) > 1 {
		if file, err = e.Files.Path(args[0], args[1]); err != nil {
			return jobs.NoRetry(err)
		}
	}
	argv, err := s.expand(args, file, job.ID)
	if err != nil {
		return jobs.NoRetry(fmt.Errorf("%w: %w", jobs.ErrArgs, err))
	}
	dir, err := newFolder(e.Temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.remove()) }()
	p := process{
		argv: argv, path: e.Path, work: filepath.Join(dir.path, "work"), artifacts: dir.artifacts(), env: s.Env,
		output: newOutput(s.MaxOutput, job.Progress),
	}
	for _, d := range []string{p.work, p.artifacts} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("make a folder for the command: %w", err)
		}
	}
	job.Log.Info("command begins", "program", argv[0], "arguments", len(argv)-1)
	code, err := p.run(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		failed := fmt.Errorf("exit status %d: %s", code, p.output.tail())
		if slices.Contains(s.RetryCodes, code) {
			return failed
		}
		return jobs.NoRetry(failed)
	}
	if err := keep(job, p.artifacts); err != nil {
		return err
	}
	return job.Return(result{p.output.tail()})
}

// texts are the arguments as argv can hold them. Clients send texts only; what
// else there is are results of other tasks: the output of a command stands for
// that command's result, any other for itself, as JSON.
func texts(job *jobs.Job) ([]string, error) {
	raw := make([]json.RawMessage, job.Len())
	targets := make([]any, len(raw))
	for i := range raw {
		targets[i] = &raw[i]
	}
	if err := job.Args(targets...); err != nil {
		return nil, err
	}
	all := make([]string, len(raw))
	for i, value := range raw {
		var of result
		dec := json.NewDecoder(bytes.NewReader(value))
		dec.DisallowUnknownFields()
		switch {
		case json.Unmarshal(value, &all[i]) == nil:
		case value[0] == '{' && dec.Decode(&of) == nil:
			all[i] = of.Output
		default:
			all[i] = string(value)
		}
	}
	return all, nil
}

// keep hands over what the command left. Anything but plain files under names
// that artifacts may have is an error: it would be lost in silence.
func keep(job *jobs.Job, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read artifacts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read artifacts: %w", err)
	}
	defer root.Close() //nolint:errcheck // read only
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			return jobs.NoRetry(fmt.Errorf("artifact %q is no file", entry.Name()))
		}
		if err := copyFile(job, root, entry); err != nil {
			return fmt.Errorf("keep artifact %q: %w", entry.Name(), err)
		}
	}
	return nil
}

func copyFile(job *jobs.Job, root *os.Root, entry fs.DirEntry) error {
	from, err := root.Open(entry.Name())
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read only
	to, err := job.Artifact(entry.Name())
	if errors.Is(err, artifacts.ErrName) {
		return jobs.NoRetry(err)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// Uploads are the commands that are started for each uploaded file of certain
// names, and which these are.
func Uploads(specs []Spec) map[string]func(filename string) bool {
	all := map[string]func(string) bool{}
	for _, s := range specs {
		if len(s.OnUpload) > 0 {
			all[s.Name] = s.accepts
		}
	}
	return all
}

// Schedules are the schedules of the commands that have one.
func Schedules(specs []Spec) (all []schedule.Periodic, err error) {
	for _, s := range specs {
		if s.Schedule == "" {
			continue
		}
		at, err := schedule.Parse(s.Schedule)
		if err != nil {
			return nil, fmt.Errorf("schedule of %s: %w", s.Name, err)
		}
		all = append(all, schedule.Periodic{Schedule: at, Once: s.Missed == "once", Task: jobs.NewTask{Name: s.Name, Args: json.RawMessage("[]")}})
	}
	return all, nil
}

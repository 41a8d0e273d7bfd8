package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/uploads"
)

// Files gives access to uploaded files.
type Files interface {
	// Path returns the absolute path of an uploaded file for a task with that name and id, or of a copy in the folder temp,
	// which the caller removes. The error wraps fs.ErrNotExist if there is no such file,
	// and uploads.ErrUnavailable if the task should be tried again.
	Path(ctx context.Context, task, id, directory, filename, temp string) (string, error)
}

// Env is the environment in which commands run.
type Env struct {
	// Files finds the files that tasks are started for.
	Files Files
	// Remote is true if Files may be unavailable for a time. Then tasks for files are
	// retried.
	Remote bool
	// Path is the value of PATH, to find programs and as their environment.
	Path string
	// Temp is the parent folder for the folders of running commands. Default:
	// os.TempDir.
	Temp string
}

// result is the result of a task whose program has exited with status 0.
type result struct {
	Output string `json:"output"` // end of the output
}

// Task returns the task definition of a command. After an exit status in retry_codes, the
// task is retried, by default up to DefaultRetries times. After any other status except
// 0, it fails.
func Task(s Spec, e Env) jobs.Definition {
	d := jobs.Definition{
		Name: s.Name, Args: s.args(), Check: s.check, Timeout: s.Timeout, Queue: s.Queue,
		Handler: func(ctx context.Context, job *jobs.Job) error { return run(ctx, job, s, e) },
	}
	if s.Rate != "" {
		_ = d.Rate.UnmarshalText([]byte(s.Rate)) // validated by Load
	}
	if len(s.RetryCodes) > 0 || e.Remote && s.isForFile() {
		d.MaxRetries = DefaultRetries
	}
	return d
}

func run(ctx context.Context, job *jobs.Job, s Spec, e Env) (err error) {
	args, err := stringArgs(job)
	if err != nil {
		return jobs.NoRetry(err)
	}
	if len(args) != s.argCount() {
		return fmt.Errorf("%w: %s takes %d, got %d", jobs.ErrArgs, s.Name, s.argCount(), len(args))
	}
	dir, err := newFolder(e.Temp)
	if err != nil {
		return fmt.Errorf("create folder for the command: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Remove()) }()
	file := ""
	if s.isForFile() && len(args) > 1 {
		file, err = e.Files.Path(ctx, s.Name, job.ID, args[0], args[1], dir.Path)
		if errors.Is(err, uploads.ErrUnavailable) {
			return err
		}
		if err != nil {
			return jobs.NoRetry(err)
		}
	}
	argv, err := s.expand(args, file, job.ID)
	if err != nil {
		return jobs.NoRetry(fmt.Errorf("%w: %w", jobs.ErrArgs, err))
	}
	p := process{
		argv: argv, path: e.Path, work: filepath.Join(dir.Path, "work"), artifacts: dir.artifacts(), env: append(traceEnv(ctx), s.Env...),
		output: newOutput(s.MaxOutput, job.Progress),
	}
	for _, d := range []string{p.work, p.artifacts} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("create folder for the command: %w", err)
		}
	}
	job.Log.Info("command started", "program", argv[0], "arguments", len(argv)-1)
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
	if err := storeArtifacts(ctx, job, p.artifacts); err != nil {
		return err
	}
	return job.Return(result{p.output.tail()})
}

// stringArgs returns the job's arguments as strings. Clients can only send strings; other
// values are results of other tasks. The result of a command is converted to its output,
// and any other value to its JSON text.
func stringArgs(job *jobs.Job) ([]string, error) {
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

// Uploads returns the command tasks that are started for uploaded files. The function of
// a task reports whether it accepts a filename.
func Uploads(specs []Spec) map[string]func(filename string) bool {
	all := map[string]func(string) bool{}
	for _, s := range specs {
		if len(s.OnUpload) > 0 {
			all[s.Name] = s.accepts
		}
	}
	return all
}

// Schedules returns the schedules of the command tasks.
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

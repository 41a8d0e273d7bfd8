package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/workerapi"
)

// Exit statuses of "tasks run", in addition to 0 for success and 1 for failed.
const (
	exitCancelled   = 3
	exitDead        = 4
	exitInterrupted = 130 // 128 + SIGINT, as in shells
)

// exitError is an error with an exit status.
type exitError struct {
	text string
	code int
}

func (e exitError) Error() string { return e.text }

// ExitCode returns the exit status.
func (e exitError) ExitCode() int { return e.code }

// runTask starts a task, shows its progress and prints its result. An interrupt ends
// the command but not the task.
func (r *tasksRun) runTask(ctx context.Context) error {
	tasks, err := registry(r.app.tasks(), definitions(r.opt.Commands, command.Env{}))
	if err != nil {
		return err
	}
	d, err := tasks.Lookup(r.words[0])
	if errors.Is(err, jobs.ErrUnknownTask) { // Enqueue finds it if a worker has announced it
		d = jobs.Definition{Name: r.words[0], Args: anyArgs(len(r.words) - 1)}
	} else if err != nil {
		return err
	}
	args, err := encodeArgs(d, r.words[1:])
	if err != nil {
		return err
	}
	client := jobs.Client{Store: r.store, Tasks: tasks, Announced: workerapi.NewDirectory(r.store)}
	n := jobs.NewTask{Name: d.Name, Args: args, Kwargs: json.RawMessage(r.opt.Kwargs), Queue: r.opt.Query.Queue}
	task, _, err := client.Enqueue(ctx, n)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	bar := newBar(r.errOut)
	id := task.ID
	task, err = client.Follow(ctx, id, bar.show)
	bar.end()
	if ctx.Err() != nil {
		return exitError{fmt.Sprintf("interrupted: task %s was not cancelled; see %[2]s tasks show %[1]s, or %[2]s tasks cancel %[1]s", id, r.app.command()), exitInterrupted}
	}
	if err != nil {
		return err
	}
	if r.opt.JSON {
		if err := r.print(task, nil); err != nil {
			return err
		}
	} else if err := r.printResult(task); err != nil {
		return err
	}
	codes := map[jobs.State]int{jobs.StateFailed: 1, jobs.StateCancelled: exitCancelled, jobs.StateDead: exitDead}
	if code := codes[task.State]; code != 0 {
		return exitError{fmt.Sprintf("task %s: %s: %s", id, task.State, task.Error), code}
	}
	return nil
}

// anyArgs describes arguments of which no type is known.
func anyArgs(n int) []jobs.Arg { return make([]jobs.Arg, n) }

// encodeArgs encodes command-line arguments as the JSON array of a task's arguments. An
// argument that is not a string is taken as JSON. If it is not valid JSON, it is encoded
// as a string, and validating the task reports it. A single JSON object is the input of
// a task that takes an object.
func encodeArgs(d jobs.Definition, words []string) (json.RawMessage, error) {
	places, object := d.ArgTypes()
	if object && len(words) == 1 && strings.HasPrefix(words[0], "{") && json.Valid([]byte(words[0])) {
		return json.Marshal([]json.RawMessage{json.RawMessage(words[0])})
	}
	values := make([]any, len(words))
	for i, w := range words {
		if !utf8.ValidString(w) {
			return nil, fmt.Errorf("argument %d of %s is not valid UTF-8: %q", i+1, d.Name, w)
		}
		values[i] = w
		if i < len(places) && places[i] != jobs.ArgString && json.Valid([]byte(w)) {
			values[i] = json.RawMessage(w)
		}
	}
	return json.Marshal(values)
}

// printResult prints the result of a task: a string without quotes, else JSON.
func (r *tasksRun) printResult(t *jobs.Task) error {
	var text string
	if len(t.Result) == 0 {
		return nil
	}
	if json.Unmarshal(t.Result, &text) != nil {
		text = string(t.Result)
	}
	_, err := fmt.Fprintln(r.out, text)
	return err
}

// bar is a progress bar. It prints nothing if its writer is not a terminal.
type bar struct {
	w        io.Writer
	terminal bool
	shown    bool
}

func newBar(w io.Writer) *bar {
	return &bar{w: w, terminal: terminal(w)}
}

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil
	}
	return ok
}

// barWidth is the width of the progress bar without its text, in characters.
const barWidth = 30

// show draws the bar for the present state of the task.
func (b *bar) show(t *jobs.Task) {
	if !b.terminal {
		return
	}
	b.shown = true
	done := barWidth * t.Progress / 100
	_, _ = fmt.Fprintf(b.w, "\r\033[K[%s%s] %3d%% %s %s",
		strings.Repeat("#", done), strings.Repeat(".", barWidth-done), t.Progress, t.State, utf8text.Cut(oneLine(t.Note), 30))
}

// end ends the line of the bar.
func (b *bar) end() {
	if b.shown {
		_, _ = fmt.Fprintln(b.w)
	}
}

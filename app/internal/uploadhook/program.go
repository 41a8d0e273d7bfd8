package uploadhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeWait is how long to wait for the end of the output after the program has ended, if
// another process holds the pipe.
const pipeWait = time.Second

// program is a hook that is a program.
type program struct {
	argv []string
	path string // value of PATH
}

// run runs the program, with the proposal on its standard input, and returns its standard
// output. After exit status 1 the error is the refusal. At the end of ctx the program and
// its process group are killed.
func (p program) run(ctx context.Context, proposal []byte) ([]byte, error) {
	name, err := find(p.argv[0], p.path)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, name) //nolint:gosec // the program comes from the configuration and not from a client
	cmd.Args, cmd.Env, cmd.WaitDelay = p.argv, []string{"PATH=" + p.path}, pipeWait
	stdout, stderr := &bounded{limit: maxReply}, &bounded{limit: maxReply}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(proposal), stdout, stderr
	// The kernel sends Pdeathsig when the thread that started the process ends (prctl(2),
	// PR_SET_PDEATHSIG), so this goroutine stays on its thread.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return nil, fmt.Errorf("run %s: %w", p.argv[0], cause)
	}
	exited, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok && exited.ExitCode() == 1:
		return nil, refuse(403, stderr.Bytes())
	case errors.Is(err, unix.EPIPE) && cmd.ProcessState != nil && cmd.ProcessState.Success(): // it has not read its input
	case err != nil:
		return nil, fmt.Errorf("run %s: %w: %s", p.argv[0], err, firstLine(stderr.Bytes()))
	}
	if stdout.over {
		return nil, fmt.Errorf("run %s: wrote more than %d bytes", p.argv[0], maxReply)
	}
	return stdout.Bytes(), nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}

// bounded keeps the first limit bytes that are written. Write never fails: a broken pipe
// would end the program.
type bounded struct {
	bytes.Buffer
	limit int
	over  bool // more than limit bytes were written
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	kept := p[:min(len(p), b.limit-b.Len())]
	b.over = b.over || len(kept) < len(p)
	b.Buffer.Write(kept)
	return len(p), nil
}

// find finds a program like execvp(3), but ignores relative folders in PATH.
func find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		if err := unix.Access(name, unix.X_OK); err != nil {
			return "", &fs.PathError{Op: "execute", Path: name, Err: err}
		}
		return filepath.Abs(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); filepath.IsAbs(dir) && unix.Access(full, unix.X_OK) == nil {
			return full, nil
		}
	}
	return "", fmt.Errorf("find %s: %w in PATH", name, fs.ErrNotExist)
}

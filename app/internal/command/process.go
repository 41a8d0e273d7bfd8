package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	ps "github.com/galeserver/gale/app/internal/process"
	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
)

const (
	// killDelay is the time between TERM and KILL when a command is stopped.
	killDelay = time.Second
	// pipeWait is how long to wait for the end of the output after the command has
	// ended, if a process outside its group holds the pipe.
	pipeWait = time.Second
)

// ErrOutput reports that the command wrote more than max_output.
var ErrOutput = errors.New("wrote more than max_output")

// process is one run of a program.
type process struct {
	argv            []string
	path            string // value of PATH
	work, artifacts string // folders of the command: working folder and $ARTIFACTS
	env             []string
	output          *output
}

// traceEnv returns the variables that hand the span of ctx to a program; none without a span.
func traceEnv(ctx context.Context) (env []string) {
	parent := tracing.ParentOf(ctx)
	if parent.Span != "" {
		env = append(env, tracing.EnvTraceparent+"="+parent.Span)
	}
	if parent.State != "" {
		env = append(env, tracing.EnvTracestate+"="+parent.State)
	}
	return env
}

// run runs the program and returns its exit status. The error says why there is none: the
// context's cause, a signal, or too much output. When run returns, the process group has
// ended. A process that has started a session of its own is not in the group.
func (p *process) run(ctx context.Context) (code int, err error) {
	program, err := ps.Find(p.argv[0], "", p.path)
	if err != nil {
		return 0, jobs.NoRetry(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program) //nolint:gosec // the program comes from the tasks file and not from a client
	cmd.Args, cmd.Dir, cmd.WaitDelay = p.argv, p.work, pipeWait
	cmd.Env = append([]string{"PATH=" + p.path, "ARTIFACTS=" + p.artifacts}, p.env...)
	if err := checkExecSize(cmd.Args, cmd.Env); err != nil {
		return 0, jobs.NoRetry(fmt.Errorf("%w: %w", jobs.ErrArgs, err))
	}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	// The kernel sends Pdeathsig when the thread that started the process ends (prctl(2),
	// PR_SET_PDEATHSIG), so this goroutine stays on its thread.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); errors.Is(err, unix.E2BIG) {
		return 0, jobs.NoRetry(fmt.Errorf("start %s: %w", p.argv[0], err))
	} else if err != nil {
		return 0, fmt.Errorf("start %s: %w", p.argv[0], err)
	}
	why := p.await(ctx, cmd.Process.Pid)
	err = cmd.Wait()
	p.output.flush()
	exited, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case why != nil:
		return 0, why
	case failed && exited.Exited():
		return exited.ExitCode(), nil
	case failed:
		return 0, jobs.NoRetry(fmt.Errorf("ended by %v: %s", exited.Sys().(syscall.WaitStatus).Signal(), p.output.tail()))
	case errors.Is(err, exec.ErrWaitDelay):
		return 0, nil // exit status 0; a process outside the group held the output
	}
	return 0, err
}

// await waits until the process has ended, and then kills its group. If ctx is done or
// the output is too long, it stops the process and returns the reason. It does not reap
// the process, so that the kernel cannot reuse its pid, which is also the id of the group.
func (p *process) await(ctx context.Context, pid int) (why error) {
	exited := ps.Exited(pid)
	select {
	case <-exited:
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-p.output.over:
		why = jobs.NoRetry(fmt.Errorf("%w, %d bytes", ErrOutput, p.output.limit))
	}
	if why != nil {
		_ = unix.Kill(-pid, unix.SIGTERM)
		select {
		case <-exited:
		case <-time.After(killDelay):
		}
	}
	_ = unix.Kill(-pid, unix.SIGKILL) // fails if the group has ended
	<-exited
	return why
}

package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/process"
)

const (
	// killTimeout is how long to wait for the end of processes after SIGKILL.
	killTimeout = 5 * time.Second
	// pipeTimeout is how long to wait for the end of the output after that.
	pipeTimeout = time.Second
	// memoryInterval is the time between two readings of the resident memory.
	memoryInterval = 2 * time.Second
)

// Options are the environment of a program.
type Options struct {
	// Slot is the name of the slot, in GALE_WORKER.
	Slot string
	// URL is where the program finds the server, in GALE_URL. It must differ between
	// processes: what a program has left is recognised by it.
	URL string
	// Path is the value of PATH.
	Path string
	// Grace is the time between TERM and KILL.
	Grace time.Duration
	// BootTimeout is the time that the program has until Announced is closed.
	BootTimeout time.Duration
	// Announced is closed when the program has announced its tasks.
	Announced <-chan struct{}
	// Ready is called after that.
	Ready func()
	// Alone is true if this process runs the program and nothing else. It then ends also
	// the processes that have left the program's process group and lost their environment.
	Alone bool
	// Memory is the resident memory of the program and its descendants in bytes.
	Memory *atomic.Int64
	// DroppedLines counts lines of output that were not logged.
	DroppedLines *atomic.Int64
	// Logger gets the output of the program, a record for each line.
	Logger *slog.Logger
}

// Run runs a program until ctx ends or the program does. When ctx ends, the program gets
// SIGTERM and, after o.Grace, SIGKILL; Run then returns nil. If the program ends before, or
// does not announce itself in time, Run returns an error. In all cases the process group of
// the program and everything that has inherited its GALE_URL has ended when Run returns.
//
// The program's standard input is a pipe to which nothing is written. Its end of file means
// that this process has ended.
func Run(ctx context.Context, s Spec, o Options) error {
	// The kernel sends Pdeathsig when the thread that started the process ends (prctl(2),
	// PR_SET_PDEATHSIG), so this goroutine stays on its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := start(s, o)
	if err != nil {
		return err
	}
	o.Logger.Info("program started", "program", s.Argv[0], "program_pid", r.pid)
	watching, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { r.watchMemory(watching) }) // ends with stop
	if o.Alone {
		others.Go(func() { r.reap(watching) }) // ends with stop
	}
	stopped, err := r.await(ctx)
	stop()
	others.Wait()
	return errors.Join(r.end(stopped, err), r.killRest())
}

// run is a running program.
type run struct {
	o      Options
	cmd    *exec.Cmd
	pid    int
	exited <-chan struct{} // closed when the program has ended
	output *output
	copies sync.WaitGroup
	pipes  []*os.File // read ends of stdout and stderr, and the write end of stdin
}

// start starts the program in a process group of its own.
func start(s Spec, o Options) (r *run, err error) {
	program, err := process.Find(s.Argv[0], s.Dir, o.Path)
	if err != nil {
		return nil, err
	}
	r = &run{o: o, output: &output{log: o.Logger, now: time.Now, dropped: o.DroppedLines}}
	var inherited []*os.File
	defer func() {
		for _, f := range inherited {
			_ = f.Close() // the program has a copy
		}
		if err != nil {
			for _, f := range r.pipes {
				_ = f.Close()
			}
		}
	}()
	for i := range 3 {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", s.Argv[0], err)
		}
		if i == 0 {
			reader, writer = writer, reader // the program reads from stdin
		}
		r.pipes, inherited = append(r.pipes, reader), append(inherited, writer)
	}
	r.cmd = exec.CommandContext(context.Background(), program) //nolint:gosec // the program comes from the tasks file and not from a client
	r.cmd.Args, r.cmd.Dir = s.Argv, s.Dir
	r.cmd.Env = append([]string{
		"PATH=" + o.Path, "GALE_URL=" + o.URL, "GALE_WORKER=" + o.Slot, "GALE_QUEUES=" + strings.Join(s.Queues, ","),
	}, s.Env...)
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = inherited[0], inherited[1], inherited[2]
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Argv[0], err)
	}
	r.pid = r.cmd.Process.Pid
	r.exited = process.Exited(r.pid)
	r.copies.Go(func() { r.output.copy(r.pipes[1], "stdout") }) // ends with the pipe
	r.copies.Go(func() { r.output.copy(r.pipes[2], "stderr") }) // ends with the pipe
	return r, nil
}

// await waits until the program has ended. If ctx ends before, it stops the program. If the
// program does not announce itself in time, it kills the program and returns an error.
func (r *run) await(ctx context.Context) (stopped bool, err error) {
	boot := time.NewTimer(r.o.BootTimeout)
	defer boot.Stop()
	announced := r.o.Announced
	for {
		select {
		case <-r.exited:
			return false, nil
		case <-announced:
			announced = nil
			boot.Stop()
			r.o.Ready()
		case <-boot.C:
			_ = r.cmd.Process.Signal(unix.SIGKILL)
			<-r.exited
			return false, fmt.Errorf("the program has not announced itself within %v: it must send POST /workers/announce to the address in GALE_URL", r.o.BootTimeout)
		case <-ctx.Done():
			r.terminate()
			return true, nil
		}
	}
}

// terminate sends SIGTERM to the program, but not to its process group: the program may
// want to finish what its children do. If it has not ended after Options.Grace, terminate
// kills it.
func (r *run) terminate() {
	_ = r.cmd.Process.Signal(unix.SIGTERM)
	grace := time.NewTimer(r.o.Grace)
	defer grace.Stop()
	select {
	case <-r.exited:
	case <-grace.C:
		r.o.Logger.Warn("program still runs after its grace period, killing it", "program_pid", r.pid, "grace", r.o.Grace)
		_ = r.cmd.Process.Signal(unix.SIGKILL)
		<-r.exited
	}
}

// end kills the process group, reaps the program, and returns the error of Run: why, or how
// the program has ended if it was not stopped.
func (r *run) end(stopped bool, why error) error {
	_ = unix.Kill(-r.pid, unix.SIGKILL) // fails if the group has ended
	err := r.cmd.Wait()
	exited, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case why != nil:
		return why
	case stopped:
		r.o.Logger.Info("program stopped", "program_pid", r.pid, "status", r.cmd.ProcessState.String())
		return nil
	case failed:
		return fmt.Errorf("the program has ended: %w", exited)
	case err != nil:
		return fmt.Errorf("wait for the program: %w", err)
	}
	return errors.New("the program has ended with exit status 0: a worker must run until it gets SIGTERM")
}

// killRest ends what the program has left, and its output.
func (r *run) killRest() (err error) {
	if r.o.Alone {
		err = process.KillDescendants(r.pid, killTimeout)
	}
	err = errors.Join(err, process.KillAll("GALE_URL="+r.o.URL))
	ended := make(chan struct{})
	go func() { // ends with the pipes
		r.copies.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(pipeTimeout): // another process has the pipe
	}
	for _, f := range r.pipes {
		_ = f.Close()
	}
	<-ended
	r.output.end()
	r.o.Memory.Store(0)
	return err
}

// watchMemory reads the resident memory of the program and its descendants until ctx ends.
func (r *run) watchMemory(ctx context.Context) {
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		all := append(process.Descendants(r.pid), r.pid)
		if r.o.Alone { // with those that have lost their parent
			all = process.Descendants(os.Getpid())
		}
		r.o.Memory.Store(process.Memory(all))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reap reaps orphans of the program until ctx ends.
func (r *run) reap(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for {
		process.ReapOrphans(r.pid)
		select {
		case <-ctx.Done():
			return
		case <-ended:
		}
	}
}

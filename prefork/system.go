package prefork

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// system are the master's calls to the operating system. Tests replace them.
type system struct {
	now        func() time.Time
	spawn      func(command) (pid int, control control, err error)
	startTrial func(trialCommand) (*trial, error)
	exec       func(program string, args, env []string, state []byte) error
	// identity returns a text that changes when the file is changed or replaced.
	identity func(program string) string
	kill     func(pid int, sig syscall.Signal) error
	// wait returns the exit status of one process that has exited. That may be an
	// unknown process: if the master is PID 1, it inherits orphans. ok is false if no
	// process has exited.
	wait           func() (pid int, status syscall.WaitStatus, ok bool)
	subscribe      func(chan<- os.Signal, ...os.Signal)
	holdSignals    func(chan<- os.Signal)
	attachSteering func(listener int, weights []socketWeight) error
	acceptQueue    func(listener int) int // number of connections
	// awaitConnection sends on the channel when a connection is in the accept queue of one
	// of the listeners. The caller calls stop, once.
	awaitConnection func(listeners []int) (arrived <-chan struct{}, stop func(), err error)
	sdNotify        func(state string) error
	memory          func(pid int) int64 // resident memory in bytes
	cpus            func() int
	memoryLimit     func() int64
}

func linux() *system {
	return &system{
		now: time.Now, spawn: spawn, startTrial: startTrial, exec: execute, identity: identity, kill: syscall.Kill, wait: wait, subscribe: subscribe, holdSignals: holdSignals,
		attachSteering: attachSteering, acceptQueue: acceptQueue, awaitConnection: awaitConnection, sdNotify: sdNotify, memory: residentMemory, cpus: cpus, memoryLimit: memoryLimit,
	}
}

// command describes a child to start.
type command struct {
	program  string
	argv0    string
	env      []string
	config   []byte
	page     int // descriptor of the scoreboard page
	listener int // descriptor of the listening socket; -1: none
	reports  int // descriptor of the memory for reports; -1: none
	shared   int // descriptor of the shared memory; -1: none
}

// trialCommand describes a trial to start.
type trialCommand struct {
	program   string
	args, env []string
	state     []byte
}

// control is the master's end of a child's control socket.
type control interface {
	// Read reads one message.
	Read([]byte) (int, error)
	// Send sends one message, with a descriptor if fd is not negative. It never
	// blocks: if a child does not read, Send returns an error.
	Send(text string, fd int) error
	SetReadDeadline(time.Time) error
	Close() error
}

// closedControl is the control socket of a process whose socket could not be taken over.
type closedControl struct{}

func (closedControl) Read([]byte) (int, error)        { return 0, io.EOF }
func (closedControl) Send(string, int) error          { return io.ErrClosedPipe }
func (closedControl) SetReadDeadline(time.Time) error { return nil }
func (closedControl) Close() error                    { return nil }

// socket is a real control socket (unix(7), SOCK_SEQPACKET).
type socket struct{ *net.UnixConn }

func (s socket) Send(text string, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(own uintptr) {
		sendErr = unix.Sendmsg(int(own), []byte(text), rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	return errors.Join(err, os.NewSyscallError("sendmsg", sendErr))
}

// newSocket makes a socket of a descriptor, and closes the descriptor.
func newSocket(fd uintptr, name string) (socket, error) {
	f := os.NewFile(fd, name)
	if f == nil {
		return socket{}, fmt.Errorf("%s: %d is not a descriptor", name, fd)
	}
	defer f.Close() //nolint:errcheck // FileConn has its own copy
	conn, err := net.FileConn(f)
	if err != nil {
		return socket{}, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return socket{}, fmt.Errorf("%s: descriptor %d is not a Unix socket", name, fd)
	}
	return socket{unixConn}, nil
}

// spawn starts a child.
//
// It must be called on the main thread, because the kernel sends Pdeathsig when the
// thread that forked ends, not when the process ends (prctl(2), golang/go#27505). The
// child does not rely on Pdeathsig, which the kernel clears for binaries with file
// capabilities: it also detects the exit of the master by the end of the control socket.
func spawn(c command) (pid int, ctl control, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1]) //nolint:errcheck // the child has a copy
	if _, err := unix.Write(pair[0], append([]byte(configMessage), c.config...)); err != nil {
		_ = unix.Close(pair[0])
		return 0, nil, fmt.Errorf("send configuration of %d bytes to the child: %w", len(c.config), err)
	}
	// A negative descriptor is closed in the child.
	files := []uintptr{0, 1, 2, fdControl: uintptr(pair[1]), fdPage: uintptr(c.page), fdListener: uintptr(c.listener), fdReports: uintptr(c.reports), fdShared: uintptr(c.shared)}
	pid, err = syscall.ForkExec(c.program, []string{c.argv0}, &syscall.ProcAttr{
		Env:   c.env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM},
	})
	if err != nil {
		_ = unix.Close(pair[0])
		return 0, nil, fmt.Errorf("start child: %w", err)
	}
	ctl, err = newSocket(uintptr(pair[0]), c.argv0)
	return pid, ctl, err
}

func wait() (pid int, status syscall.WaitStatus, ok bool) {
	for {
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if !errors.Is(err, syscall.EINTR) {
			return pid, status, err == nil && pid > 0
		}
	}
}

// describeExit returns a text about an exit status.
func describeExit(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

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

// system are the master's calls to the operating system; tests replace them.
type system struct {
	now        func() time.Time
	spawn      func(command) (pid int, control control, err error)
	startTrial func(trialCommand) (*trial, error)
	exec       func(program string, args, env []string, state []byte) error
	// identity changes when the file does.
	identity func(program string) string
	kill     func(pid int, sig syscall.Signal) error
	// wait reaps one child that has exited, any child: as PID 1 the master
	// inherits unknown processes. ok is false when there is none.
	wait           func() (pid int, status syscall.WaitStatus, ok bool)
	subscribe      func(chan<- os.Signal, ...os.Signal)
	holdSignals    func(chan<- os.Signal)
	attachSteering func(listener int, shares []socketWeight) error
	acceptQueue    func(listener int) int // connections that wait to be accepted
	sdNotify       func(state string) error
	memory         func(pid int) int64 // resident, in bytes
	cpus           func() int
	memoryLimit    func() int64
}

func linux() *system {
	return &system{
		now: time.Now, spawn: spawn, startTrial: startTrial, exec: execute, identity: identity, kill: syscall.Kill, wait: wait, subscribe: subscribe, holdSignals: holdSignals,
		attachSteering: attachSteering, acceptQueue: acceptQueue, sdNotify: sdNotify, memory: residentMemory, cpus: cpus, memoryLimit: memoryLimit,
	}
}

// command is a child to be started.
type command struct {
	program  string
	argv0    string
	env      []string
	config   []byte
	page     int
	listener int // -1: none
	reports  int // -1: none
}

// trialCommand is a binary whose ability to take over is tested.
type trialCommand struct {
	program   string
	args, env []string
	state     []byte
}

// control is the master's end of a child's control socket.
type control interface {
	// Read reads one message.
	Read([]byte) (int, error)
	// Send sends one message, with a descriptor unless it is negative. It
	// never waits: a child that does not read must not block the master.
	Send(text string, fd int) error
	SetReadDeadline(time.Time) error
	Close() error
}

// closedControl is the control socket of a process that could not be taken over.
type closedControl struct{}

func (closedControl) Read([]byte) (int, error)        { return 0, io.EOF }
func (closedControl) Send(string, int) error          { return io.ErrClosedPipe }
func (closedControl) SetReadDeadline(time.Time) error { return nil }
func (closedControl) Close() error                    { return nil }

// socket is a control socket of the kernel.
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

// newSocket wraps a descriptor, which it takes over.
func newSocket(fd uintptr, name string) (socket, error) {
	f := os.NewFile(fd, name)
	if f == nil {
		return socket{}, fmt.Errorf("%s: no descriptor %d", name, fd)
	}
	defer f.Close() //nolint:errcheck // FileConn has its own copy
	conn, err := net.FileConn(f)
	if err != nil {
		return socket{}, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return socket{}, fmt.Errorf("%s: descriptor %d is no control socket", name, fd)
	}
	return socket{unixConn}, nil
}

// spawn starts a child.
//
// It must be called on the main thread: the kernel sends Pdeathsig when the
// thread that forked ends, not the process (prctl(2), golang/go#27505). The
// child's own sign of its master's death is the end of the control socket;
// file capabilities clear Pdeathsig silently.
func spawn(c command) (pid int, ctl control, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1]) //nolint:errcheck // the child has its own
	if _, err := unix.Write(pair[0], append([]byte(configMessage), c.config...)); err != nil {
		_ = unix.Close(pair[0])
		return 0, nil, fmt.Errorf("hand over configuration of %d bytes: %w", len(c.config), err)
	}
	// A negative one is closed.
	files := []uintptr{0, 1, 2, fdControl: uintptr(pair[1]), fdPage: uintptr(c.page), fdListener: uintptr(c.listener), fdReports: uintptr(c.reports)}
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

// describeExit says how a process ended.
func describeExit(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

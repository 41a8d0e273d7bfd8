package prefork

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execute runs a program in this process (execve(2)). The process keeps its PID, its
// children, and all descriptors without the close-on-exec flag. execute returns only
// if it fails.
//
// It must be called on the main thread, as spawn must, because of Pdeathsig.
func execute(program string, args, env []string, state []byte) error {
	fd, err := newMemfd("gale-state", state)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is written any more
	setCloseOnExec([]int{fd}, false)
	env = append(env, envState+"="+strconv.Itoa(fd))
	return syscall.Exec(program, args, env)
}

// holdSignals prepares for the time between execve(2) and the moment when the new
// master subscribes to its signals. When holdSignals returns, all signals that arrived
// before are in ch. signal.Reset would lose them. Later signals are handled as follows:
//
// SIGHUP is ignored, also by the new program until it subscribes. The new master checks
// whether it has missed a reload, see recheck.
//
// SIGTERM and SIGINT end the program, and its children then drain.
//
// SIGTTIN and SIGTTOU are blocked, and stay pending until the new master subscribes. They
// are also ignored, because the Go runtime unblocks them before it installs a handler, and
// their default action is to stop the process.
//
// SIGHUP, SIGTERM and SIGINT cannot stay pending in the same way, because the Go runtime
// unblocks them when it starts.
func holdSignals(ch chan<- os.Signal) {
	kept := []os.Signal{syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU}
	signal.Notify(make(chan os.Signal, 1), kept...)
	signal.Stop(ch)
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, signalSet(syscall.SIGTTIN, syscall.SIGTTOU), nil)
	signal.Ignore(kept...)
}

// subscribe makes signals arrive on ch. SIGTTIN and SIGTTOU that are pending since
// holdSignals arrive, too.
func subscribe(ch chan<- os.Signal, signals ...os.Signal) {
	held := pendingSignals(signals)
	signal.Notify(ch, signals...)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, signalSet(signals...), nil)
	for _, sig := range held {
		ch <- sig
	}
}

// pendingSignals consumes and returns the blocked signals that are pending
// (signalfd(2)).
func pendingSignals(signals []os.Signal) (pending []os.Signal) {
	fd, err := unix.Signalfd(-1, signalSet(signals...), unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	if err != nil {
		return nil
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	var info unix.SignalfdSiginfo
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	for {
		if n, err := unix.Read(fd, buf); err != nil || n != len(buf) {
			return pending
		}
		pending = append(pending, syscall.Signal(info.Signo))
	}
}

// signalSet returns the sigset_t of some signals. Bit 0 is signal 1.
func signalSet(signals ...os.Signal) *unix.Sigset_t {
	set := &unix.Sigset_t{}
	for _, sig := range signals {
		n := uint(sig.(syscall.Signal)) - 1
		set.Val[n/64] |= 1 << (n % 64)
	}
	return set
}

// startTrial starts a binary as a master that only checks whether it can take over.
func startTrial(c trialCommand) (_ *trial, err error) {
	t := &trial{} // not the named result: a return with an error sets that to nil
	defer func() {
		if err != nil {
			_, _ = t.report.Close(), t.output.Close()
		}
	}()
	state, err := newMemfd("gale-state", c.state)
	if err != nil {
		return nil, err
	}
	defer unix.Close(state) //nolint:errcheck // the child has a copy
	if t.report, err = newLimitedMemfd("gale-report", len(configMessage)+maxConfig); err != nil {
		return nil, err
	}
	if t.output, err = newLimitedMemfd("gale-errors", 16<<10); err != nil {
		return nil, err
	}
	env := append(slices.Clone(c.env), fmt.Sprintf("%s=%d", envState, firstInheritedFD), fmt.Sprintf("%s=%d", envTrial, firstInheritedFD+1))
	t.pid, err = syscall.ForkExec(c.program, c.args, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, t.output.Fd(), t.output.Fd(), uintptr(state), t.report.Fd()},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", c.program, err)
	}
	return t, nil
}

// newMemfd makes a memory file (memfd_create(2)) with some content.
func newMemfd(name string, content []byte) (fd int, err error) {
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	for off := 0; off < len(content); {
		n, err := unix.Pwrite(fd, content[off:], int64(off))
		if err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("pwrite", err)
		}
		off += n
	}
	return fd, nil
}

// newLimitedMemfd makes an empty memory file. A write beyond limit bytes fails
// (fcntl(2), F_SEAL_GROW).
func newLimitedMemfd(name string, limit int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(int64(limit)); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		_ = f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

// readMemfd returns the text that was written to a memory file, and closes the file. The
// writer must be a process that inherited the descriptor: both processes then have the
// same file offset, which is the length of the text.
func readMemfd(f *os.File) []byte {
	defer f.Close() //nolint:errcheck // a memory file
	end, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	text := make([]byte, end)
	n, _ := f.ReadAt(text, 0)
	return text[:n]
}

// identity returns a text that changes when the file is changed or replaced: inode,
// size and modification time. It is empty if the file does not exist.
func identity(program string) string {
	var st unix.Stat_t
	if unix.Stat(program, &st) != nil {
		return ""
	}
	return fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mtim.Nano())
}

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// exitTimeout is how long kill waits for the end of a process, in milliseconds.
const exitTimeout = 2000

// KillAll kills all processes whose environment contains variable, NAME=value.
func KillAll(variable string) (err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, entry := range entries {
		if pid, notPID := strconv.Atoi(entry.Name()); notPID == nil {
			err = errors.Join(err, kill(pid, variable))
		}
	}
	return err
}

// kill kills a process if its environment contains variable, and waits for its end. It
// opens a descriptor before it reads the environment, so that it cannot kill another
// process that reuses the pid (pidfd_open(2)).
func kill(pid int, variable string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // has ended
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
		return nil // has ended, or is another one
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, exitTimeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return nil
}

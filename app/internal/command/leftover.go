package command

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// folderPrefix is the prefix of the names of the folders in which commands run.
const folderPrefix = "gale-command-"

// exitTimeout is how long kill waits for the end of a process, in milliseconds.
const exitTimeout = 2000

// folder is the folder of a running command. The worker holds a lock on it (flock(2)),
// which the kernel releases when the worker ends, even by kill -9. A folder without a
// lock is therefore a leftover.
type folder struct {
	path string
	lock *os.File
}

func newFolder(temp string) (folder, error) {
	for {
		path, err := os.MkdirTemp(temp, folderPrefix)
		if err != nil {
			return folder{}, fmt.Errorf("create folder for the command: %w", err)
		}
		lock, err := lockFolder(path, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // Sweep has removed the folder, which had no lock yet
		}
		if err != nil {
			return folder{}, errors.Join(fmt.Errorf("lock the command's folder: %w", err), os.RemoveAll(path))
		}
		return folder{path, lock}, nil
	}
}

func (f folder) artifacts() string { return filepath.Join(f.path, "artifacts") }

// remove removes the folder with its content and releases the lock.
func (f folder) remove() error {
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// lockFolder locks a folder of this user. how is 0 or LOCK_NB. The error wraps
// os.ErrNotExist if there is no such folder. With LOCK_NB it is EWOULDBLOCK if another
// process holds the lock.
func lockFolder(path string, how int) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	var info unix.Stat_t
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|how); err == nil {
		err = unix.Fstat(int(lock.Fd()), &info)
	}
	switch {
	case err != nil:
	case info.Nlink == 0:
		err = os.ErrNotExist // removed while Flock waited
	case int(info.Uid) != os.Geteuid():
		err = os.ErrPermission
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

// Sweep kills the processes and removes the folders of commands whose worker was killed.
// The kernel ends a command with its worker, but not the processes that the command has
// started. Commands of running workers are not touched. temp is Env.Temp.
func Sweep(temp string) (err error) {
	temp = cmp.Or(temp, os.TempDir())
	found, err := os.ReadDir(temp)
	if err != nil {
		return fmt.Errorf("list folders of commands: %w", err)
	}
	for _, entry := range found {
		path := filepath.Join(temp, entry.Name())
		if !strings.HasPrefix(entry.Name(), folderPrefix) {
			continue
		}
		lock, lockErr := lockFolder(path, unix.LOCK_NB)
		if lockErr != nil {
			continue // in use, removed, or of another user
		}
		left := folder{path, lock}
		err = errors.Join(err, killAll("ARTIFACTS="+left.artifacts()), left.remove())
	}
	return err
}

// killAll kills all processes whose environment contains variable, NAME=value.
func killAll(variable string) (err error) {
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
		return nil // has ended, or is not one of the command
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("kill process %d of a command: %w", pid, err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, exitTimeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for process %d of a command: %w", pid, err)
	}
	return nil
}

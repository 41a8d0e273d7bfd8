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

// folderPrefix begins the names of the folders in which commands run.
const folderPrefix = "gale-command-"

// exitTimeout is how long a process may take to be gone that was killed, in ms.
const exitTimeout = 2000

// folder is where a command runs. It is locked for as long, by a lock that the
// kernel gives back however the worker ends (flock(2)): a folder that nobody has
// locked is a leftover.
type folder struct {
	path string
	lock *os.File
}

func newFolder(temp string) (folder, error) {
	for {
		path, err := os.MkdirTemp(temp, folderPrefix)
		if err != nil {
			return folder{}, fmt.Errorf("make a folder for the command: %w", err)
		}
		lock, err := lockFolder(path, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // Sweep was faster, and saw a folder that nobody had
		}
		if err != nil {
			return folder{}, errors.Join(fmt.Errorf("lock the command's folder: %w", err), os.RemoveAll(path))
		}
		return folder{path, lock}, nil
	}
}

func (f folder) artifacts() string { return filepath.Join(f.path, "artifacts") }

// remove removes the folder and all that is in it.
func (f folder) remove() error {
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// lockFolder locks a folder of this user. The error wraps os.ErrNotExist if there
// is none, and with LOCK_NB it is EWOULDBLOCK for one that somebody has.
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
		err = os.ErrNotExist // removed while it was waited for
	case int(info.Uid) != os.Geteuid():
		err = os.ErrPermission
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

// Sweep ends what a worker that was killed has left of its commands: the processes
// that its end did not reach, which are those that a command had started, and the
// folders. What runs below a worker that lives it leaves alone. temp is Env.Temp.
func Sweep(temp string) (err error) {
	temp = cmp.Or(temp, os.TempDir())
	found, err := os.ReadDir(temp)
	if err != nil {
		return fmt.Errorf("look for folders of commands: %w", err)
	}
	for _, entry := range found {
		path := filepath.Join(temp, entry.Name())
		if !strings.HasPrefix(entry.Name(), folderPrefix) {
			continue
		}
		lock, lockErr := lockFolder(path, unix.LOCK_NB)
		if lockErr != nil {
			continue // in use, gone, or somebody else's
		}
		left := folder{path, lock}
		err = errors.Join(err, killAll("ARTIFACTS="+left.artifacts()), left.remove())
	}
	return err
}

// endAll kills the processes that have a variable in their environment.
func killAll(variable string) (err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("look for processes: %w", err)
	}
	for _, entry := range entries {
		if pid, notOne := strconv.Atoi(entry.Name()); notOne == nil {
			err = errors.Join(err, kill(pid, variable))
		}
	}
	return err
}

// end kills a process if it has the variable, and waits until it is gone. The
// descriptor comes first: behind it the number cannot become another process's
// (pidfd_open(2)).
func kill(pid int, variable string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // it is gone
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
		return nil // gone, or somebody else's
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("end process %d of a command: %w", pid, err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, exitTimeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for process %d of a command: %w", pid, err)
	}
	return nil
}

package uploads

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// calls are the system calls that a promise hangs on, a field each, so that a
// test can fail one, count it or see in which order they come.
type syscalls struct {
	// tmpfile makes a file without a name in the folder itself.
	tmpfile func(root *os.Root) (*os.File, error)
	write   func(f *os.File, p []byte) (int, error)
	fsync   func(f *os.File) error
	mkdir   func(parent *os.Root, name string) error
	rmdir   func(parent *os.Root, name string) error
	opendir func(parent *os.Root, name string) (*os.Root, error)
	// linkat is linkat(2), which neither replaces nor, without
	// AT_SYMLINK_FOLLOW, follows anything.
	linkat func(olddir int, oldname string, newdir int, newname string, flags int) error
	// lock takes the lock that tells a live writer's temporary from a dead
	// one's, and fails with EWOULDBLOCK if another holds it.
	lock func(f *os.File) error
	// setxattr and getxattr are fsetxattr(2) and fgetxattr(2).
	setxattr func(f *os.File, name string, value []byte) error
	getxattr func(f *os.File, name string, value []byte) (int, error)
}

func realSyscalls() syscalls {
	return syscalls{
		tmpfile: func(root *os.Root) (*os.File, error) {
			return root.OpenFile(".", os.O_WRONLY|unix.O_TMPFILE, fileMode)
		},
		write:   (*os.File).Write,
		fsync:   (*os.File).Sync,
		mkdir:   func(parent *os.Root, name string) error { return parent.Mkdir(name, folderMode) },
		rmdir:   rmdir,
		opendir: (*os.Root).OpenRoot,
		linkat: func(olddir int, oldname string, newdir int, newname string, flags int) error {
			return restart(func() error { return unix.Linkat(olddir, oldname, newdir, newname, flags) })
		},
		lock: func(f *os.File) error {
			return restart(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		},
		setxattr: func(f *os.File, name string, value []byte) error {
			return unix.Fsetxattr(int(f.Fd()), name, value, 0)
		},
		getxattr: func(f *os.File, name string, value []byte) (int, error) {
			return unix.Fgetxattr(int(f.Fd()), name, value)
		},
	}
}

// rmdir removes an empty directory and nothing else: os.Root.Remove would take
// a file that meanwhile has the same name.
func rmdir(parent *os.Root, name string) error {
	dir, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return restart(func() error { return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR) })
}

// restart repeats a call that a signal interrupted; Go installs its handlers
// with SA_RESTART, which not every file system honours (golang/go#38033).
func restart(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

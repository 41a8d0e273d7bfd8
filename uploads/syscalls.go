package uploads

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syscalls are the system calls that durability and safety depend on. A test can
// replace each of them, to make it fail, to count it or to record the order.
type syscalls struct {
	// tmpfile creates an unnamed file in the folder root.
	tmpfile func(root *os.Root) (*os.File, error)
	write   func(f *os.File, p []byte) (int, error)
	fsync   func(f *os.File) error
	mkdir   func(parent *os.Root, name string) error
	rmdir   func(parent *os.Root, name string) error
	opendir func(parent *os.Root, name string) (*os.Root, error)
	// linkat is linkat(2). It never replaces a file and, without
	// AT_SYMLINK_FOLLOW, does not follow symbolic links.
	linkat func(olddir int, oldname string, newdir int, newname string, flags int) error
	// lock takes an exclusive flock(2) lock, or fails with EWOULDBLOCK. A
	// temporary file without a lock belongs to a process that has ended.
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

// rmdir removes an empty folder and nothing else. os.Root.Remove would also remove a
// file that has got the same name in the meantime.
func rmdir(parent *os.Root, name string) error {
	dir, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return restart(func() error { return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR) })
}

// restart repeats a system call that a signal interrupted. Go installs its signal
// handlers with SA_RESTART, but not every file system honours that
// (golang/go#38033).
func restart(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

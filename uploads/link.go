package uploads

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// link gives the file a name in an open folder. Because the folder is open and has
// been checked, no symbolic link can take the place of a part of its path.
func (f *diskFile) link(folder *os.File, name string) error {
	var err error
	if f.temporary == "" {
		err = f.linkUnnamed(int(folder.Fd()), name)
	} else {
		err = f.linkTemporary(int(folder.Fd()), name)
	}
	if err != nil {
		return &os.LinkError{Op: "linkat", Old: f.temporary, New: name, Err: err}
	}
	return nil
}

// linkUnnamed tries both ways that open(2) describes under O_TMPFILE. AT_EMPTY_PATH
// needs CAP_DAC_READ_SEARCH before Linux 6.10 and fails with ENOENT without it. The
// path in /proc needs no capability, but a mounted /proc.
func (f *diskFile) linkUnnamed(folder int, name string) error {
	fd := int(f.file.Fd())
	err := f.disk.sys.linkat(fd, "", folder, name, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) {
		self := "/proc/self/fd/" + strconv.Itoa(fd)
		err = f.disk.sys.linkat(unix.AT_FDCWD, self, folder, name, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

func (f *diskFile) linkTemporary(folder int, name string) error {
	root, err := f.disk.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return f.disk.sys.linkat(int(root.Fd()), f.temporary, folder, name, 0)
}

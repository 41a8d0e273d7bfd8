package uploads

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// link gives the file a name in an open folder. Because the folder is open and has
// been checked, no symbolic link can take the place of a part of its path.
func (u *Upload) link(folder *os.File, name string) error {
	var err error
	if u.temporary == "" {
		err = u.linkUnnamed(int(folder.Fd()), name)
	} else {
		err = u.linkTemporary(int(folder.Fd()), name)
	}
	if err != nil {
		return &os.LinkError{Op: "linkat", Old: u.temporary, New: name, Err: err}
	}
	return nil
}

// linkUnnamed tries both ways that open(2) describes under O_TMPFILE. AT_EMPTY_PATH
// needs CAP_DAC_READ_SEARCH before Linux 6.10 and fails with ENOENT without it. The
// path in /proc needs no capability, but a mounted /proc.
func (u *Upload) linkUnnamed(folder int, name string) error {
	fd := int(u.file.Fd())
	err := u.store.sys.linkat(fd, "", folder, name, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) {
		self := "/proc/self/fd/" + strconv.Itoa(fd)
		err = u.store.sys.linkat(unix.AT_FDCWD, self, folder, name, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

func (u *Upload) linkTemporary(folder int, name string) error {
	root, err := u.store.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return u.store.sys.linkat(int(root.Fd()), u.temporary, folder, name, 0)
}

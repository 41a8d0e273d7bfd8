package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// counts are the number and size of copied files.
type counts struct {
	files int
	bytes int64
}

// copier copies files of one folder to the same names in another one. Files that are removed
// meanwhile, symbolic links and special files are skipped.
type copier struct {
	ctx      context.Context //nolint:containedctx // lives as long as one call of Write
	from, to *os.Root
	path     string // of from
	counts
}

// newCopier opens both folders and creates to with its parents if it is missing.
func newCopier(ctx context.Context, from, to string) (*copier, error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, err
	}
	source, err := os.OpenRoot(from)
	if err != nil {
		return nil, err
	}
	target, err := os.OpenRoot(to)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return &copier{ctx: ctx, from: source, to: target, path: from}, nil
}

func (c *copier) close() { _, _ = c.from.Close(), c.to.Close() } // each file was closed and checked

// tree copies all files for which wanted is true, in all folders for which it is true. done,
// if it is set, is called for each copied file.
func (c *copier) tree(wanted func(name string, isDir bool) bool, done func(name string, info fs.FileInfo)) error {
	return fs.WalkDir(c.from.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || name == "." {
			return err
		}
		if err := context.Cause(c.ctx); err != nil {
			return err
		}
		switch {
		case d.IsDir() && !wanted(name, true):
			return fs.SkipDir
		case !d.Type().IsRegular() || !wanted(name, false):
			return nil
		}
		info, err := c.file(name)
		if err == nil && info != nil && done != nil {
			done(name, info)
		}
		return err
	})
}

// file copies a file, with its folder, mode, owner, times and user attributes. It returns nil
// if there is no such regular file any more, or if it is part of a database that is copied
// with its main file.
func (c *copier) file(name string) (fs.FileInfo, error) {
	in, err := c.from.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil, nil //nolint:nilnil // removed or replaced meanwhile
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // opened for reading only
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() || c.besideDatabase(name) {
		return nil, err
	}
	if err := c.folders(filepath.Dir(name)); err != nil {
		return nil, err
	}
	if isDatabase(in) {
		to := filepath.Join(c.to.Name(), name)
		if err := copyDatabase(c.ctx, filepath.Join(c.path, name), to); err != nil {
			return nil, err
		}
		c.files, c.bytes = c.files+1, c.bytes+info.Size()
		return info, os.Chmod(to, info.Mode().Perm())
	}
	out, err := c.to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(out, in)
	if err == nil {
		err = copyAttributes(out, in, info)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("copy %s: %w", name, err)
	}
	c.files, c.bytes = c.files+1, c.bytes+n
	return info, c.to.Chtimes(name, info.ModTime(), info.ModTime())
}

// folders creates a folder with the modes and owners of the original.
func (c *copier) folders(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := c.to.Lstat(dir); err == nil {
		return nil
	}
	if err := c.folders(filepath.Dir(dir)); err != nil {
		return err
	}
	info, err := c.from.Stat(dir)
	if err != nil {
		return err
	}
	if err := c.to.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if uid, gid, ok := ownerToKeep(info); ok {
		if err := c.to.Chown(dir, uid, gid); err != nil {
			return err
		}
	}
	return c.to.Chmod(dir, info.Mode().Perm())
}

// copyAttributes sets the mode, the owner and the user attributes (xattr(7)) of the copy. A
// file system without attributes loses them: an upload then has no SHA-256 as its ETag.
func copyAttributes(out, in *os.File, info fs.FileInfo) error {
	if uid, gid, ok := ownerToKeep(info); ok {
		if err := out.Chown(uid, gid); err != nil {
			return err
		}
	}
	// The sticky bit hides an upload in quarantine.
	if err := out.Chmod(info.Mode() & (fs.ModePerm | fs.ModeSticky)); err != nil {
		return err
	}
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(int(in.Fd()), names)
	if err != nil {
		return nil // the file system has no attributes
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		n, err := unix.Fgetxattr(int(in.Fd()), name, value)
		if err == nil {
			err = unix.Fsetxattr(int(out.Fd()), name, value[:n], 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// ownerToKeep returns the owner of a file. It reports false if this process cannot give files
// to others.
func ownerToKeep(info fs.FileInfo) (uid, gid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}

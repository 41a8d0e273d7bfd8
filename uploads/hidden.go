package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// hiddenMode is the mode of a file in quarantine: the sticky bit, which has no meaning for a
// regular file on Linux (inode(7)), and no rights for others, such as a web server in the
// same group. The mode belongs to the file and not to its name, so it is there before the
// name is, and one system call ends the quarantine.
const hiddenMode = fs.ModeSticky | 0o600

func isHidden(info fs.FileInfo) bool { return info.Mode()&fs.ModeSticky != 0 }

// Hide implements Writer. The sync of the file makes it durable.
func (f *diskFile) Hide(context.Context) error {
	if err := f.file.Chmod(hiddenMode); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err == nil && !isHidden(info) {
		err = errors.New("the file system does not keep the sticky bit of a file")
	}
	return err
}

// OpenHidden implements Quarantine.
func (d *disk) OpenHidden(_ context.Context, directory, filename string) (Content, error) {
	return d.open(directory, filename, true)
}

// openPending opens the file of a record. If it has been removed, changed or replaced since
// then, the error wraps fs.ErrNotExist.
func (d *disk) openPending(p Pending) (diskContent, error) {
	f, err := d.open(p.Directory, p.Filename, true)
	if errors.Is(err, ErrName) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return diskContent{}, err
	}
	same := f.info.Size == p.Size && f.info.Modified.UnixNano() == p.Modified
	if !same || f.info.SHA256 != "" && f.info.SHA256 != p.SHA256 {
		_ = f.Close() // opened for reading only
		return diskContent{}, fmt.Errorf("find file of record: replaced: %w", fs.ErrNotExist)
	}
	return f, nil
}

// Release implements Quarantine. The file gets the mode of other files, as far as the mode
// of its folder shows which rights the umask leaves.
func (d *disk) Release(_ context.Context, p Pending) error {
	f, err := d.openPending(p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading only
	folder, err := d.root.Stat(p.Directory)
	if err != nil {
		return fmt.Errorf("stat folder: %w", err)
	}
	if err := f.Chmod(fileMode & (folder.Mode().Perm() | unix.S_IRUSR | unix.S_IWUSR)); err != nil {
		return fmt.Errorf("change mode of file: %w", err)
	}
	if err := d.sys.fsync(f.File); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}

// Reject implements Quarantine.
func (d *disk) Reject(ctx context.Context, p Pending) error {
	f, err := d.openPending(p)
	if err != nil {
		return err
	}
	_ = f.Close() // opened for reading only
	return d.Remove(ctx, p.Directory, p.Filename)
}

package uploads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxAttempts is how often Publish enters the directory anew because another
// upload, which made it and failed, removed it again.
const maxAttempts = 20

// maxNumber is how many names PublishNumbered tries.
const maxNumber = 10_000

// errFinished is a bug of the caller's.
var errFinished = errors.New("upload is published or discarded already")

// Publish gives the file its name, in the pool: sync the file, make the
// directory if it is missing, link(2), which never replaces, sync the directory
// and all above it. When it returns nil the file survives a power cut.
//
// On an error there is no such file, and no folder that was made for it. The
// error wraps ErrName for a name against CheckName's rule or through a symbolic
// link, and ErrExists if anything has that name; then another name may be tried.
// The File is the answer to the client in either case.
func (u *Upload) Publish(ctx context.Context, directory, filename string) (File, error) {
	err := CheckName(directory, filename)
	if err == nil {
		err = u.store.disk(ctx, func() error { return u.publish(directory, filename) })
	}
	if err != nil {
		return Failed(directory, filename, err), err
	}
	return u.stored(directory, filename), nil
}

// PublishNumbered is Publish, but where the filename is taken it tries
// name-1.ext, name-2.ext and so on, ten thousand of them.
func (u *Upload) PublishNumbered(ctx context.Context, directory, filename string) (File, error) {
	extension := path.Ext(filename)
	base, name := strings.TrimSuffix(filename, extension), filename
	err := CheckName(directory, filename)
	if err == nil {
		err = u.store.disk(ctx, func() (err error) {
			for n := range maxNumber {
				if n > 0 {
					name = base + "-" + strconv.Itoa(n) + extension
				}
				// The look is cheaper than the link, which decides.
				if err = u.store.check(directory, name); err == nil {
					err = u.publish(directory, name)
				}
				if !errors.Is(err, ErrExists) {
					return err
				}
			}
			return err
		})
	}
	if err != nil {
		return Failed(directory, filename, err), err
	}
	return u.stored(directory, name), nil
}

func (u *Upload) stored(directory, filename string) File {
	f := Failed(directory, filename, nil)
	f.Size, f.SHA256 = u.size, u.sum()
	return f
}

// publish is Publish for an acceptable name, in the caller's goroutine.
func (u *Upload) publish(directory, filename string) (err error) {
	defer func() {
		if u.file != nil { // else it is a caller's mistake, not an outcome
			u.failure = err
		}
	}()
	switch {
	case u.file == nil:
		return errFinished
	case u.err != nil:
		return u.err
	case !u.synced:
		if u.kept { // and may have been written further than counts
			if err := u.file.Truncate(u.size); err != nil {
				return fmt.Errorf("cut file: %w", err)
			}
		}
		u.noteSum()
		// Once failed, a second fsync may succeed although the bytes are
		// lost (fsync(2)), so the error stays.
		if err := u.store.sys.fsync(u.file); err != nil {
			u.err = fmt.Errorf("sync file: %w", err)
			return u.err
		}
		u.synced = true
	}
	for range maxAttempts {
		if err = u.place(directory, filename); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	u.finish(CodeStored)
	u.store.log.Info("file stored", "directory", directory, "filename", filename,
		"bytes", u.size, "duration_ms", time.Since(u.began).Milliseconds())
	return nil
}

// place names the synced file, or leaves everything as it was.
func (u *Upload) place(directory, filename string) error {
	f, err := u.store.enter(directory, true)
	if err != nil {
		return err
	}
	defer f.close()
	root := f.last().root
	dir, err := root.Open(".")
	if err == nil {
		defer func() { _ = dir.Close() }()
		err = u.link(dir, filename)
		if errors.Is(err, fs.ErrExist) && u.linkedBefore(root, filename) {
			return f.sync()
		}
	}
	if err == nil {
		if err = f.sync(); err != nil {
			// The client is told no, so there must be no file.
			err = errors.Join(err, root.Remove(filename))
		}
	}
	if err != nil {
		f.undo()
	}
	if errors.Is(err, fs.ErrExist) {
		return exists(directory, filename)
	}
	return err
}

// Discard frees the file unless it is published. It takes no place in the pool,
// so that it always can, and may be called more than once.
func (u *Upload) Discard() {
	code := CodeInvalid // the sender went away
	if err := cmp.Or(u.failure, u.err); err != nil {
		code, _ = verdict(err)
	}
	u.finish(code)
}

// finish ends the upload, whose outcome is code: the file has its name, and
// what goes is the temporary's, or it is unwanted.
func (u *Upload) finish(code int) {
	if u.file == nil {
		return
	}
	// The name first: an unlocked temporary is a sweeper's.
	if u.temporary != "" && !u.kept {
		if err := u.store.root.Remove(u.temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.store.log.Warn("temporary not removed", "file", u.temporary, "error", err)
		}
	}
	if !u.kept {
		_ = u.file.Close() // published, and then synced, or unwanted
	}
	u.file = nil
	if u.counted {
		u.store.options.Meter.FileEnded(code, time.Since(u.began))
	}
}

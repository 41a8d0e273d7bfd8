package uploads

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// Checkpoint is a place in an upload: what was written so far, from where it can go on
// in another process.
type Checkpoint struct {
	Size int64 // bytes
	// HashState is the state of the SHA-256 of those bytes (crypto/sha256,
	// encoding.BinaryMarshaler), so that they need not be read again.
	HashState []byte
}

// PrivateFolder opens a folder inside the store's own for files that outlive a process
// without being stored, and makes it, durably, if it is missing (mode 0700). Its
// name begins with a dot, so that no upload can be named in it. The caller closes
// it.
func (s *Store) PrivateFolder(name string) (*os.Root, error) {
	if name == "" || name[0] != '.' {
		return nil, fmt.Errorf("open private folder %q: its name must begin with a dot", name)
	}
	if err := s.makeFolder(name); err != nil {
		return nil, fmt.Errorf("make private folder: %w", err)
	}
	root, err := s.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open private folder: %w", err)
	}
	return root, nil
}

// MaxFile is how many bytes a file may have.
func (s *Store) MaxFile() int64 { return s.options.MaxFile }

// Resume goes on with a file that its caller keeps: f, open for reading and
// writing, whose path in the store's folder is name, in a PrivateFolder. The last
// component of name is the id that Options.Stored gets. What is in the file past the mark counts for nothing and is written over. The file stays the
// caller's: Publish links it under another name and leaves this one, and neither
// Publish nor Discard nor Pause closes or removes it. The caller sees to it that
// nobody else writes.
//
// If the file has been published as that name before, by a process that did not
// live to note it, Publish succeeds again. pool.ErrFull is returned at once.
func (s *Store) Resume(ctx context.Context, f *os.File, name string, m Checkpoint) (*Upload, error) {
	u := &Upload{store: s, file: f, temporary: name, callersFile: true, id: path.Base(name), hash: sha256.New(), size: m.Size}
	err := s.Do(ctx, func() error {
		info, err := f.Stat()
		if err == nil && info.Size() < m.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("look at kept file: %w", err)
		}
		state, ok := u.hash.(encoding.BinaryUnmarshaler)
		if m.Size > 0 && (!ok || state.UnmarshalBinary(m.HashState) != nil) {
			// Of another version of Go, say: the bytes are there.
			u.hash = sha256.New()
			if n, err := io.Copy(u.hash, io.NewSectionReader(f, 0, m.Size)); err != nil || n != m.Size {
				return fmt.Errorf("read kept file: %d of %d bytes: %w", n, m.Size, cmp.Or(err, io.ErrUnexpectedEOF))
			}
			s.log.InfoContext(ctx, "sum of a kept file read again", "file", name, "bytes", m.Size)
		}
		if _, err := f.Seek(m.Size, io.SeekStart); err != nil {
			return fmt.Errorf("seek kept file: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	u.startMetering()
	return u, nil
}

// Checkpoint is the place up to which everything is written, not yet synced.
func (u *Upload) Checkpoint() (Checkpoint, error) {
	state, ok := u.hash.(encoding.BinaryMarshaler)
	if !ok {
		return Checkpoint{}, errors.New("mark upload: its sum has no state")
	}
	sum, err := state.MarshalBinary()
	if err != nil {
		return Checkpoint{}, fmt.Errorf("mark upload: %w", err)
	}
	return Checkpoint{Size: u.size, HashState: sum}, nil
}

// Sync makes what was written durable, in the caller's goroutine. Unlike the
// other methods it may run beside one of them. After an error what was written
// since the last success may be lost, also if the next Sync succeeds (fsync(2)).
func (u *Upload) Sync() error {
	if err := u.store.sys.fsync(u.file); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}

// Pause ends the writing of a kept file that is not whole yet; for the Meter its
// code is CodePartial. After it only Discard may be called.
func (u *Upload) Pause() { u.finish(CodePartial) }

// linkedBefore reports whether filename in folder is the kept file itself.
func (u *Upload) alreadyLinked(folder *os.Root, filename string) bool {
	if !u.callersFile {
		return false
	}
	there, err := folder.Lstat(filename)
	if err != nil {
		return false
	}
	ours, err := u.file.Stat()
	return err == nil && os.SameFile(there, ours)
}

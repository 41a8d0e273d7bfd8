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

// Checkpoint is a position in an upload from which Resume can continue it, also in
// another process.
type Checkpoint struct {
	Size int64 // number of bytes before the position
	// HashState is the state of the SHA-256 of these bytes (crypto/sha256,
	// encoding.BinaryMarshaler). With it Resume need not read them again.
	HashState []byte
}

// PrivateFolder opens a folder in the store's folder, and creates it if it is missing
// (mode 0700). It is for the files of unfinished uploads that outlive a process. name
// must begin with a dot, so that no upload can be published there. The caller must
// close the returned root.
func (s *Store) PrivateFolder(name string) (*os.Root, error) {
	if name == "" || name[0] != '.' {
		return nil, fmt.Errorf("open private folder %q: its name must begin with a dot", name)
	}
	if s.disk == nil {
		return nil, errNoFolder
	}
	if err := s.disk.makeFolder(name); err != nil {
		return nil, fmt.Errorf("make private folder: %w", err)
	}
	root, err := s.disk.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open private folder: %w", err)
	}
	return root, nil
}

// errNoFolder is the error of methods that need a store on a folder.
var errNoFolder = errors.New("the file store is not a folder")

// MaxFile returns the size limit of a file, in bytes.
func (s *Store) MaxFile() int64 { return s.options.MaxFile }

// Resume continues an upload from the checkpoint m. f is the file of the upload, open
// for reading and writing; name is its path in the store's folder, in a PrivateFolder.
// Data in the file after the checkpoint is overwritten. Options.Stored gets the last
// component of name as the id.
//
// The file belongs to the caller: Publish adds a second name to it, and neither
// Publish nor Discard nor Pause closes it or removes its first name. The caller must
// ensure that no other process or goroutine writes to it.
//
// Publish also succeeds if the file already has the name. So a caller that cannot tell
// whether a killed process has published the file may publish it again. If the pool is
// full, Resume does not wait and returns pool.ErrFull. Resume and PrivateFolder need a store
// that Open has made.
func (s *Store) Resume(ctx context.Context, f *os.File, name string, m Checkpoint) (*Upload, error) {
	if s.disk == nil {
		return nil, errNoFolder
	}
	u := &Upload{store: s, id: path.Base(name), hash: sha256.New(), size: m.Size,
		file: &diskFile{disk: s.disk, file: f, temporary: name, callersFile: true, size: m.Size}}
	err := s.Do(ctx, func() error {
		info, err := f.Stat()
		if err == nil && info.Size() < m.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("stat file to resume: %w", err)
		}
		if u.resumeHash(m) != nil {
			// The state may have been saved by another version of Go. Compute it again.
			u.hash = sha256.New()
			if n, err := io.Copy(u.hash, io.NewSectionReader(f, 0, m.Size)); err != nil || n != m.Size {
				return fmt.Errorf("read file to resume: %d of %d bytes: %w", n, m.Size, cmp.Or(err, io.ErrUnexpectedEOF))
			}
			s.log.InfoContext(ctx, "hash state unusable, file of a resumed upload read again", "file", name, "bytes", m.Size)
		}
		if _, err := f.Seek(m.Size, io.SeekStart); err != nil {
			return fmt.Errorf("seek in file to resume: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	u.startMetering()
	return u, nil
}

// ResumeWriter continues an upload from the checkpoint m on a Writer that has the bytes before
// it. Options.Stored gets id. It fails if the state of the hash was saved by a version of Go
// with another format.
func (s *Store) ResumeWriter(id string, w Writer, m Checkpoint) (*Upload, error) {
	u := &Upload{store: s, id: id, hash: sha256.New(), size: m.Size, file: w}
	if err := u.resumeHash(m); err != nil {
		return nil, err
	}
	u.startMetering()
	return u, nil
}

// resumeHash sets the state of the hash.
func (u *Upload) resumeHash(m Checkpoint) error {
	if m.Size == 0 {
		return nil
	}
	state, ok := u.hash.(encoding.BinaryUnmarshaler)
	if !ok {
		return errors.New("resume upload: the hash has no state that can be set")
	}
	if err := state.UnmarshalBinary(m.HashState); err != nil {
		return fmt.Errorf("resume upload: %w", err)
	}
	return nil
}

// Checkpoint returns the position after the last byte written. Before a Checkpoint is
// saved, Sync must have made these bytes durable.
func (u *Upload) Checkpoint() (Checkpoint, error) {
	state, ok := u.hash.(encoding.BinaryMarshaler)
	if !ok {
		return Checkpoint{}, errors.New("make checkpoint: the hash has no state that can be saved")
	}
	sum, err := state.MarshalBinary()
	if err != nil {
		return Checkpoint{}, fmt.Errorf("make checkpoint: %w", err)
	}
	return Checkpoint{Size: u.size, HashState: sum}, nil
}

// Sync makes everything that was written durable, in the calling goroutine. Unlike the
// other methods of a resumed upload it may run at the same time as one of them. After an error the bytes
// written since the last successful Sync may be lost, even if the next one succeeds
// (fsync(2)).
func (u *Upload) Sync() error {
	f, ok := u.file.(*diskFile)
	if !ok {
		return errFinished
	}
	if err := f.disk.sys.fsync(f.file); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}

// Pause ends a resumed upload that is not complete. Options.Meter gets CodePartial.
// After Pause only Discard may be called.
func (u *Upload) Pause() { u.finish(CodePartial) }

// alreadyLinked reports whether filename in folder is the resumed file itself.
func (f *diskFile) alreadyLinked(folder *os.Root, filename string) bool {
	if !f.callersFile {
		return false
	}
	there, err := folder.Lstat(filename)
	if err != nil {
		return false
	}
	ours, err := f.file.Stat()
	return err == nil && os.SameFile(there, ours)
}

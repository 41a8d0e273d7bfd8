package artifacts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// Bucket stores the files of tasks in object storage, so that the servers and workers of
// several machines share them.
type Bucket struct {
	backend uploads.Backend
}

var _ Files = (*Bucket)(nil)

// NewBucket returns a Bucket on a backend in which Publish replaces existing files, such as
// that of an s3.Bucket with s3.Options.Replace. Nothing else may use the backend. Close
// closes it.
func NewBucket(b uploads.Backend) *Bucket { return &Bucket{b} }

// Close implements Files.
func (b *Bucket) Close() error {
	if b.backend.Close == nil {
		return nil
	}
	return b.backend.Close()
}

// Open implements Files.
func (b *Bucket) Open(ctx context.Context, id, name string) (uploads.Content, error) {
	if !jobs.ValidID(id) || !validArtifact(name) {
		return nil, fmt.Errorf("open artifact: %w", fs.ErrNotExist)
	}
	f, err := b.backend.Files.Open(ctx, id, name)
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	return f, nil
}

// object is a file of a Bucket that is being written.
type object struct {
	ctx      context.Context //nolint:containedctx // of the attempt, because io.Writer has none
	id, name string
	sum      hash.Hash

	mu     sync.Mutex
	file   uploads.Writer // nil after the end
	failed error          // error of a failed Write
}

// Create implements Files.
func (b *Bucket) Create(ctx context.Context, id, name string, _ int) (Writer, error) {
	if !validArtifact(name) {
		return nil, ErrName
	}
	f, err := b.backend.Files.Create(ctx, rand.Text(), id, name)
	if err != nil {
		return nil, fmt.Errorf("create artifact: %w", err)
	}
	return &object{ctx: ctx, id: id, name: name, sum: sha256.New(), file: f}, nil
}

// Write implements Writer.
func (o *object) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.file == nil:
		return 0, errEnded
	case o.failed != nil:
		return 0, o.failed
	}
	n, err := o.file.Write(o.ctx, p)
	o.sum.Write(p[:n]) // never fails
	if err != nil {
		o.failed = fmt.Errorf("write artifact: %w", err)
	}
	return n, o.failed
}

// Close implements Writer.
func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return errEnded
	}
	f := o.file
	o.file = nil
	defer f.Close()
	if o.failed != nil {
		return o.failed
	}
	_, err := f.Finish(o.ctx, hex.EncodeToString(o.sum.Sum(nil)))
	if err == nil {
		err = f.Publish(o.ctx, o.id, o.name)
	}
	if err != nil {
		return fmt.Errorf("write artifact: %w", err)
	}
	return nil
}

// Discard implements Writer.
func (o *object) Discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}

// Clean implements Files. There is nothing to remove: a partial file has no name, and the
// storage removes its parts.
func (*Bucket) Clean(string) {}

// Expire implements Files. It sends a request for each uploads.MaxList tasks, and for each
// task that is gone.
func (b *Bucket) Expire(ctx context.Context, old time.Time, gone func(id string) (bool, error)) (tasks int, err error) {
	err = b.each(ctx, "", func(task uploads.Entry) error {
		if !task.Folder || !jobs.ValidID(task.Name) {
			return nil
		}
		remove, err := gone(task.Name)
		if err == nil && remove {
			remove, err = b.remove(ctx, task.Name, old)
		}
		if err != nil {
			return fmt.Errorf("remove artifacts of %s: %w", task.Name, err)
		}
		if remove {
			tasks++
		}
		return nil
	})
	return tasks, err
}

// remove removes the files of a task, unless one of them was changed after old.
func (b *Bucket) remove(ctx context.Context, id string, old time.Time) (bool, error) {
	var names []string
	fresh := false
	err := b.each(ctx, id, func(f uploads.Entry) error {
		names = append(names, f.Name)
		fresh = fresh || !f.Modified.Before(old)
		return nil
	})
	if fresh || err != nil {
		return false, err
	}
	for _, name := range names {
		if err := b.backend.Files.Remove(ctx, id, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return len(names) > 0, nil
}

// each calls fn for all entries of a directory.
func (b *Bucket) each(ctx context.Context, directory string, fn func(uploads.Entry) error) error {
	for after := ""; ; {
		entries, next, err := b.backend.Files.List(ctx, directory, after, uploads.MaxList)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process has removed it
		}
		if err != nil {
			return fmt.Errorf("list artifacts: %w", err)
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

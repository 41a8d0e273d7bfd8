package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/pool"
)

// sweepInterval is how often one of the processes looks for what has expired; with a
// short Options.Expiry it is more often.
const sweepInterval = time.Minute

// orphanAge is how old a file that belongs to no upload must be before it goes: one
// that is being made looks like that for a moment.
const orphanAge = time.Hour

// Run removes what has expired, publishes what was whole when its process was
// killed, and forgets what ended long ago, until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	every := time.NewTicker(max(min(sweepInterval, s.opts.Expiry/4, s.opts.Retention/4), 100*time.Millisecond))
	defer every.Stop()
	for {
		err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, pool.ErrClosed) {
			s.log.ErrorContext(ctx, "unfinished uploads not swept", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// sweep looks at every upload once, unless another process is doing that.
func (s *Server) sweep(ctx context.Context) error {
	dir, err := s.ended.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }() // and with it the lock
	if alone, err := lockFolder(dir); !alone || err != nil {
		return err
	}
	err = forEachFile(s.ended, func(name string, info fs.FileInfo) error {
		if time.Since(info.ModTime()) < s.opts.Retention {
			return nil
		}
		return s.ended.Remove(name)
	})
	return errors.Join(err, forEachFile(s.unfinished, func(name string, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if id, ok := strings.CutSuffix(name, stateSuffix); ok {
			return s.sweepOne(ctx, id, info)
		}
		if _, err := s.unfinished.Lstat(name + stateSuffix); errors.Is(err, fs.ErrNotExist) && time.Since(info.ModTime()) > orphanAge {
			return s.unfinished.Remove(name)
		}
		return nil
	}))
}

// lockFolder locks a folder until it is closed, and reports whether it could.
func lockFolder(dir *os.File) (bool, error) {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("lock folder: %w", err)
	}
	return err == nil, nil
}

// sweepOne ends an upload that has expired, unless somebody holds it.
func (s *Server) sweepOne(ctx context.Context, id string, info fs.FileInfo) error {
	f, err := s.find(id)
	if errors.Is(err, errNotFound) {
		return nil // ended meanwhile, or none of ours
	}
	if err != nil {
		return err
	}
	e := &entry{server: s, state: f}
	defer e.close()
	if held, err := tryLock(f, ownerByte); !held || err != nil {
		return err
	}
	e.attributes, e.progress, err = readState(f)
	switch {
	case errors.Is(err, errStateUnreadable) && time.Since(info.ModTime()) > orphanAge:
		s.log.WarnContext(ctx, "upload lost", "upload", id, "error", err)
		return errors.Join(s.unfinished.Remove(id), s.unfinished.Remove(id+stateSuffix))
	case errors.Is(err, errStateUnreadable):
		return nil
	case err != nil:
		return err
	case e.Phase != phaseUnfinished: // its process did not live to move it
		return e.archive(ctx)
	case e.complete() && !e.partial():
		return e.finish(ctx, nil)
	case e.expired(time.Now()):
		return e.discard(ctx, "expired")
	}
	return nil
}

// each calls fn for every regular file in a folder. What goes wrong with one, or
// has gone meanwhile, keeps it from none of the others.
func forEachFile(root *os.Root, fn func(name string, info fs.FileInfo) error) (failed error) {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	for {
		batch, err := dir.ReadDir(256)
		for _, found := range batch {
			info, err := root.Lstat(found.Name())
			if err == nil && info.Mode().IsRegular() {
				err = fn(found.Name(), info)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return failed
		}
		if err != nil {
			return errors.Join(failed, err)
		}
	}
}

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

// sweepEvery is how often one of the processes looks for what has expired; with a
// short Options.Expiry it is more often.
const sweepEvery = time.Minute

// leftover is how old a file that belongs to no upload must be before it goes: one
// that is being made looks like that for a moment.
const leftover = time.Hour

// Run removes what has expired, publishes what was whole when its process was
// killed, and forgets what ended long ago, until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	every := time.NewTicker(max(min(sweepEvery, s.opts.Expiry/4, s.opts.Retention/4), 100*time.Millisecond))
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
	dir, err := s.done.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }() // and with it the lock
	if alone, err := lockFolder(dir); !alone || err != nil {
		return err
	}
	err = each(s.done, func(name string, info fs.FileInfo) error {
		if time.Since(info.ModTime()) < s.opts.Retention {
			return nil
		}
		return s.done.Remove(name)
	})
	return errors.Join(err, each(s.open, func(name string, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if id, ok := strings.CutSuffix(name, stateSuffix); ok {
			return s.sweepOne(ctx, id, info)
		}
		if _, err := s.open.Lstat(name + stateSuffix); errors.Is(err, fs.ErrNotExist) && time.Since(info.ModTime()) > leftover {
			return s.open.Remove(name)
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
	if held, err := try(f, holdByte); !held || err != nil {
		return err
	}
	e.origin, e.progress, err = readState(f)
	switch {
	case errors.Is(err, errState) && time.Since(info.ModTime()) > leftover:
		s.log.WarnContext(ctx, "upload lost", "upload", id, "error", err)
		return errors.Join(s.open.Remove(id), s.open.Remove(id+stateSuffix))
	case errors.Is(err, errState):
		return nil
	case err != nil:
		return err
	case e.Phase != phaseOpen: // its process did not live to move it
		return e.retire(ctx)
	case e.whole() && !e.partial():
		return e.finish(ctx, nil)
	case e.expired(time.Now()):
		return e.drop(ctx, "expired")
	}
	return nil
}

// each calls fn for every regular file in a folder. What goes wrong with one, or
// has gone meanwhile, keeps it from none of the others.
func each(root *os.Root, fn func(name string, info fs.FileInfo) error) (failed error) {
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

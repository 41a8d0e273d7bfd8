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

// sweepInterval is the time between two sweeps. It is shorter if Options.Expiry or
// Options.Retention is short.
const sweepInterval = time.Minute

// orphanAge is the age after which a file that belongs to no upload is removed. Younger
// files may belong to an upload that is being created.
const orphanAge = time.Hour

// Run sweeps the uploads until ctx ends. A sweep discards expired uploads, publishes
// complete ones whose process was killed, and removes the state of uploads that ended
// longer than Options.Retention ago. Only one of the processes sweeps at a time. Run
// returns nil.
func (s *Server) Run(ctx context.Context) error {
	every := time.NewTicker(max(min(sweepInterval, s.opts.Expiry/4, s.opts.Retention/4), 100*time.Millisecond))
	defer every.Stop()
	for {
		err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, pool.ErrClosed) {
			s.log.ErrorContext(ctx, "sweep of unfinished uploads failed, will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// sweep visits each upload once, unless another process is sweeping.
func (s *Server) sweep(ctx context.Context) error {
	dir, err := s.ended.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }() // also releases the lock
	if locked, err := lockFolder(dir); !locked || err != nil {
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

// lockFolder locks a folder until it is closed. It reports false if it is locked already.
func lockFolder(dir *os.File) (bool, error) {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("lock folder: %w", err)
	}
	return err == nil, nil
}

// sweepOne publishes or discards an upload if that is due, unless a request holds its lock.
func (s *Server) sweepOne(ctx context.Context, id string, info fs.FileInfo) error {
	f, err := s.find(id)
	if errors.Is(err, errNotFound) {
		return nil // ended in the meantime, or not an upload
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
	case e.Phase != phaseUnfinished: // a process was killed before it moved the state file
		return e.archive(ctx)
	case e.complete() && !e.partial():
		return e.finish(ctx, nil)
	case e.expired(time.Now()):
		return e.discard(ctx, "expired")
	}
	return nil
}

// forEachFile calls fn for every regular file in a folder. It continues after an error and
// returns all errors joined. Files that have been removed in the meantime are no error.
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

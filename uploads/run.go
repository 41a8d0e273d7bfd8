package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the interval at which Run looks for pending records. It is minRetry without
// failures, and doubles after each failure up to maxRetry.
const (
	minRetry = 5 * time.Second
	maxRetry = time.Minute
)

// Run calls Options.Quarantine and Options.Stored until ctx ends, for each stored file for
// which this is not done yet: because the verdict is pending, the process was killed in between, or because Stored
// failed. The first calls are made at once, further ones after 5 s. After failures the
// interval doubles, up to one minute. Stored is not called for files that have been removed
// or changed since they were stored. On a folder, only one of the processes that have it
// open makes these calls at a time. Run returns nil.
func (s *Store) Run(ctx context.Context) error {
	if s.options.Stored == nil && s.options.Quarantine == nil {
		<-ctx.Done()
		return nil
	}
	var holding sync.WaitGroup
	defer holding.Wait()
	holding.Go(func() { s.settleHeld(ctx) }) // ends with ctx
	for wait := minRetry; ; {
		left, err := s.retry(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "callbacks for stored files failed, will retry", "files", left, "next_try", wait.String(), "error", err)
		}
		again := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-again.C:
		}
		if wait = min(2*wait, maxRetry); err == nil {
			wait = minRetry
		}
	}
}

// retry calls Options.Stored for the files in the journal. It returns the number of files
// for which a call failed, and the first error.
func (s *Store) retry(ctx context.Context) (left int, failed error) {
	var first error // other than errHeld
	left, failed = s.backend.Journal.Retry(ctx, func(p Pending) error {
		err := s.settle(ctx, p)
		if first == nil && !errors.Is(err, errHeld) {
			first = err
		}
		if err == nil && !p.Quarantined {
			s.log.InfoContext(ctx, "callback for stored file succeeded on retry", "id", p.ID, "directory", p.Directory, "filename", p.Filename)
		}
		return err
	})
	if errors.Is(failed, errHeld) {
		failed = first
	}
	return left, failed
}

// Retry implements Journal. It processes all records once, unless another process is doing
// so.
func (d *disk) Retry(ctx context.Context, fn func(Pending) error) (left int, failed error) {
	dir, err := d.root.Open(pending)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open folder of pending records: %w", err)
	}
	defer func() { _ = dir.Close() }() // also releases the lock
	if err := d.sys.lock(dir); errors.Is(err, unix.EWOULDBLOCK) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("lock folder of pending records: %w", err)
	}
	names, err := recordNames(dir)
	if err != nil {
		return 0, fmt.Errorf("list pending records: %w", err)
	}
	for _, name := range names {
		n, err := d.retryOne(ctx, pending+"/"+name, fn)
		left += n
		if failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return left, failed
}

// recordNames returns the names of the regular files in an open folder.
func recordNames(dir *os.File) (names []string, err error) {
	for {
		batch, err := dir.ReadDir(listBatch)
		for _, e := range batch {
			if e.Type().IsRegular() {
				names = append(names, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// retryOne calls fn for the stored files of a record, unless a process has locked the
// record.
func (d *disk) retryOne(ctx context.Context, name string, fn func(Pending) error) (left int, failed error) {
	r, err := d.openRecord(name)
	if r == nil || err != nil {
		return 0, err
	}
	files, err := r.read()
	if err != nil {
		r.release()
		return 0, err
	}
	var rest []Pending
	for _, p := range files {
		there, err := false, ctx.Err()
		if err == nil {
			there, err = d.stillStored(p)
		}
		if err == nil && there {
			err = fn(p)
		}
		if err != nil {
			rest = append(rest, p)
			if failed == nil {
				failed = err
			}
		}
	}
	r.End(ctx, rest)
	return len(rest), failed
}

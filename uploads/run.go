package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Run looks for pending records this often, and after a failure less and less often.
const (
	minRetry = 5 * time.Second
	maxRetry = time.Minute
)

// Run calls Options.Stored, until ctx ends, for the files that are stored and for
// which it has not returned nil: those of processes that were killed in between, at
// once, and those for which it failed, again after 5 s and then at intervals that
// double up to a minute. Files that have been removed or changed since are left out.
// Of all processes that have the folder open one at a time does this. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	if s.options.Stored == nil {
		<-ctx.Done()
		return nil
	}
	for wait := minRetry; ; {
		left, err := s.retry(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "what follows stored files is not done yet", "files", left, "next_try", wait.String(), "error", err)
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

// retry goes through the records once, unless another process is doing that. It
// returns how many files are left for the next time, and why the first of them is.
func (s *Store) retry(ctx context.Context) (left int, failed error) {
	dir, err := s.root.Open(pending)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open folder of pending records: %w", err)
	}
	defer func() { _ = dir.Close() }() // and with it the lock
	if err := s.sys.lock(dir); errors.Is(err, unix.EWOULDBLOCK) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("lock folder of pending records: %w", err)
	}
	names, err := recordNames(dir)
	if err != nil {
		return 0, fmt.Errorf("list pending records: %w", err)
	}
	for _, name := range names {
		n, err := s.retryOne(ctx, pending+"/"+name)
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

// recordNames lists the regular files of an open folder.
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

// retryOne does what a record asks for, unless a process is doing that already.
func (s *Store) retryOne(ctx context.Context, name string) (left int, failed error) {
	r, err := s.openRecord(name)
	if r == nil || err != nil {
		return 0, err
	}
	files, err := r.read()
	if err != nil {
		r.release()
		return 0, err
	}
	var rest []pendingFile
	for _, p := range files {
		there, err := false, ctx.Err()
		if err == nil {
			there, err = s.stillStored(p)
		}
		if err == nil && there {
			if err = s.callStored(ctx, p); err == nil {
				s.log.InfoContext(ctx, "what follows a stored file done later", "id", p.ID, "directory", p.Directory, "filename", p.Filename)
			}
		}
		if err != nil {
			rest = append(rest, p)
			if failed == nil {
				failed = err
			}
		}
	}
	r.keepOnly(rest)
	return len(rest), failed
}

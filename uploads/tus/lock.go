package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Byte ranges of a state file for locks. The request that holds ownerByte may use the
// upload. A request that waits for ownerByte locks waiterByte; when the owner detects that,
// it releases ownerByte. These are open file description locks (fcntl(2), F_OFD_SETLK): they work
// between goroutines and between processes alike, and the kernel releases them when the
// process ends in any way. So neither lock can be stale.
const (
	ownerByte = iota
	waiterByte
)

// lockRetryInterval is the time between two attempts of a waiting request to get the lock.
const lockRetryInterval = 5 * time.Millisecond

// tryLock locks byte b. It reports false if the byte is locked already.
func tryLock(f *os.File, b int64) (bool, error) {
	err := fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: b, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock upload: %w", err)
	}
	return true, nil
}

func unlock(f *os.File, b int64) error {
	err := fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: b, Len: 1})
	if err != nil {
		return fmt.Errorf("unlock upload: %w", err)
	}
	return nil
}

// takeoverRequested reports whether another request waits for the upload.
func takeoverRequested(f *os.File) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: waiterByte, Len: 1}
	return fcntl(f, unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

func fcntl(f *os.File, command int, l *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(f.Fd(), command, l); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// lock locks ownerByte of the state file f. If another request holds it, lock takes
// waiterByte, which makes the other request release ownerByte. After the end of ctx the error
// is its cause.
func lock(ctx context.Context, f *os.File) error {
	held, err := tryLock(f, ownerByte)
	if held || err != nil {
		return err
	}
	again := time.NewTicker(lockRetryInterval)
	defer again.Stop()
	for waiting := false; ; {
		if !waiting {
			if waiting, err = tryLock(f, waiterByte); err != nil {
				return err
			}
		}
		if held, err = tryLock(f, ownerByte); err != nil {
			return err
		}
		if held {
			return unlock(f, waiterByte)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

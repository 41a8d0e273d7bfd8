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

// The bytes of a state file that are locked. Who has ownerByte has the upload; who
// waits for it has waiterByte, which tells the holder to let go. These locks are of
// the open file description (fcntl(2), F_OFD_SETLK): two goroutines exclude each
// other as two processes do, and the kernel drops them with the last descriptor,
// however its process ends. So neither a lock nor a wish for one can be stale.
const (
	ownerByte = iota
	waiterByte
)

const (
	// lockRetryInterval is how often who waits tries again.
	lockRetryInterval = 5 * time.Millisecond
	// takeoverCheckInterval is how often a holder looks whether anybody waits.
	takeoverCheckInterval = 50 * time.Millisecond
)

// try locks a byte and reports whether it could.
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

// wanted reports whether somebody waits for what f holds.
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

// lock takes the upload whose state file f is, from whoever has it. The error is
// errLocked if that one does not let go in time.
func (s *Server) lock(ctx context.Context, f *os.File) error {
	held, err := tryLock(f, ownerByte)
	if held || err != nil {
		return err
	}
	again := time.NewTicker(lockRetryInterval)
	defer again.Stop()
	late := time.NewTimer(s.opts.TakeoverTimeout)
	defer late.Stop()
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
		case <-late.C:
			return errLocked
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

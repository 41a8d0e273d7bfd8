package tus

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/uploads"
)

// A checkpoint is made behind every segment: so much may be lost to a kill, and
// has to be sent again.
const (
	segmentTime  = time.Second
	segmentBytes = 64 << 20
)

// receive appends the body of a request and makes the offset that comes of it
// durable. The Upload is for finish, or for its caller to pause; it is nil with an
// error.
//
// Whatever ends the body early, what came before that stays, with two exceptions,
// of which nothing stays: bytes that a checksum was announced for, and more bytes
// than the upload has room for.
func (e *entry) receive(ctx context.Context, r *Request, check *checksum) (*uploads.Upload, error) {
	if err := e.openData(); err != nil {
		return nil, err
	}
	s, start := e.server, e.checkpoint()
	u, err := s.store.Resume(ctx, e.data, folderName+"/"+unfinishedName+"/"+e.ID, start)
	if err != nil {
		return nil, err
	}
	watched, stop := e.watch(ctx, r.Interrupt)
	body := r.Body
	if e.Length >= 0 { // one more shows that there are too many
		body = io.LimitReader(body, e.Length-e.Offset+1)
	}
	if check != nil {
		body = io.TeeReader(body, check)
	}
	err = e.copyBody(ctx, u, contextReader{watched, body}, check == nil)
	stop()
	if cause := context.Cause(watched); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	keep := true
	switch {
	case e.Length >= 0 && u.Size() > e.Length, errors.Is(err, uploads.ErrTooLarge):
		keep, err = false, newError(http.StatusRequestEntityTooLarge, "more bytes than the upload has")
	case check == nil:
	case err != nil:
		keep = false
	case !check.matches():
		keep, err = false, newError(statusChecksum, "checksum mismatch")
	}
	point, saveErr := start, error(nil)
	if keep {
		point, saveErr = u.Checkpoint()
	}
	if saveErr == nil && point.Size != e.Offset { // else there is nothing to note
		saveErr = e.saveCheckpoint(context.WithoutCancel(ctx), u, point)
	}
	if err = errors.Join(err, saveErr); err != nil {
		u.Discard()
		return nil, err
	}
	return u, nil
}

// copy appends body, a checkpoint behind every segment. One is made while the next
// segment is received, so that the disk is busy all the time and the sender does
// not wait.
func (e *entry) copyBody(ctx context.Context, u *uploads.Upload, body io.Reader, checkpoints bool) (err error) {
	var saving chan error // the end of the checkpoint that is being made
	defer func() {
		if saving != nil {
			err = errors.Join(err, <-saving)
		}
	}()
	for {
		seg := segment{r: body, remaining: segmentBytes, deadline: time.Now().Add(segmentTime)}
		if _, err := u.ReadFrom(ctx, &seg); err != nil || seg.eof {
			return err
		}
		if e.Length < 0 { // it grows as it likes
			if err := e.server.checkGrowth(ctx); err != nil {
				return err
			}
		}
		if saving != nil {
			select {
			case err := <-saving:
				if saving = nil; err != nil {
					return err
				}
			default:
			}
		}
		if saving != nil || !checkpoints {
			continue
		}
		point, err := u.Checkpoint()
		if err != nil {
			return err
		}
		saving = make(chan error, 1)
		go func(done chan<- error) { // ends with the checkpoint, which copy waits for
			done <- e.saveCheckpoint(context.WithoutCancel(ctx), u, point)
		}(saving)
	}
}

// checkpoint makes what mark counts durable, and then the mark itself. If that
// fails the one before holds, and this request makes no other: what was not synced
// may be lost although the next sync succeeds (fsync(2)), and has to come again.
func (e *entry) saveCheckpoint(ctx context.Context, u *uploads.Upload, point uploads.Checkpoint) error {
	return e.server.store.DoWait(ctx, func() error {
		if e.syncErr == nil {
			e.syncErr = u.Sync()
		}
		if e.syncErr != nil {
			return e.syncErr
		}
		// copy may be running beside this and reads e.Length: no more is written
		// than changes.
		offset, hash, expires := e.Offset, e.Hash, e.Expires
		e.Offset, e.Hash = point.Size, point.HashState
		e.Expires = time.Now().Add(e.server.opts.Expiry).Unix()
		if err := e.saveProgress(); err != nil {
			e.Offset, e.Hash, e.Expires = offset, hash, expires
			return err
		}
		if report := e.server.opts.Progress; report != nil {
			report(e.ID, e.Offset, e.Length)
		}
		return nil
	})
}

// watch returns a context that ends when somebody wants the upload, or the server
// is closed; a Read that waits is cut then. stop must be called. The context is for
// reading: what has been read is written all the same.
func (e *entry) watch(ctx context.Context, cut func()) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	stopped, ended := make(chan struct{}), make(chan struct{})
	stopReading := func(why error) {
		cancel(why)
		if cut != nil {
			cut()
		}
	}
	go func() { // ends with stop, or when it has let go
		defer close(ended)
		look := time.NewTicker(takeoverCheckInterval)
		defer look.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-e.server.closing:
				stopReading(pool.ErrClosed)
				return
			case <-look.C:
				if takeoverRequested(e.state) {
					e.server.log.InfoContext(ctx, "upload taken over", "upload", e.ID)
					stopReading(errTakenOver)
					return
				}
			}
		}
	}()
	return watched, func() {
		close(stopped)
		<-ended
	}
}

// contextReader reads until a context ends, whose cause is its error then.
type contextReader struct {
	ctx context.Context //nolint:containedctx // io.Reader takes none
	r   io.Reader
}

func (w contextReader) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

// segment is a part of a body that ends with it, or when it has become large or
// old enough.
type segment struct {
	r         io.Reader
	remaining int64
	deadline  time.Time
	received  bool
	eof       bool // r has ended
}

func (s *segment) Read(p []byte) (int, error) {
	if s.remaining <= 0 || s.received && time.Now().After(s.deadline) {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.remaining)])
	s.remaining -= int64(n)
	s.received = s.received || n > 0
	s.eof = err == io.EOF // and no error around it
	return n, err
}

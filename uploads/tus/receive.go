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

// takeoverCheckInterval is the time between two checks of a holder whether another request
// waits.
const takeoverCheckInterval = 50 * time.Millisecond

// errTextTooLong is the text for a body with too many bytes.
const errTextTooLong = "the body exceeds Upload-Length or Tus-Max-Size"

// receive appends the body of a request and makes the new offset durable. The caller
// must finish or pause the Upload that it returns. After an error it returns nil.
//
// If the body ends early, the bytes received before that are kept. They are discarded in
// two cases: if the request has a checksum, and if the body is too long.
func (e *entry) receive(ctx context.Context, r *Request, check *checksum) (*uploads.Upload, error) {
	start := e.Checkpoint()
	u, pace, err := e.held.Resume(ctx)
	if err != nil {
		return nil, err
	}
	u.Apply(e.permit())
	readCtx, stop := e.watch(ctx, r.Interrupt)
	body := r.Body
	if e.Length >= 0 { // one byte more, to detect a body that is too long
		body = io.LimitReader(body, e.Length-e.Offset+1)
	}
	if check != nil {
		body = io.TeeReader(body, check)
	}
	err = e.copyBody(ctx, u, contextReader{readCtx, body}, pace, check == nil)
	if cause := stop(); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	keep := true
	switch {
	case e.Length >= 0 && u.Size() > e.Length, errors.Is(err, uploads.ErrTooLarge):
		keep, err = false, newError(http.StatusRequestEntityTooLarge, errTextTooLong)
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
	if saveErr == nil && point.Size != e.Offset { // otherwise the state on disk is right already
		saveErr = e.saveCheckpoint(context.WithoutCancel(ctx), point)
	}
	if err = errors.Join(err, saveErr); err != nil {
		u.Discard()
		return nil, err
	}
	return u, nil
}

// copyBody appends body in segments, and saves a checkpoint after each. If the process is
// killed, the client must send the bytes after the last checkpoint again. If the Place
// allows it, copyBody saves it while the next segment is received, so that the client does
// not wait for the sync.
func (e *entry) copyBody(ctx context.Context, u *uploads.Upload, body io.Reader, pace Pace, checkpoints bool) (err error) {
	var saving chan error // result of the checkpoint that is being saved; nil if none is
	defer func() {
		if saving != nil {
			err = errors.Join(err, <-saving)
		}
	}()
	for {
		seg := segment{r: body, remaining: pace.Bytes, deadline: time.Now().Add(pace.Time)}
		if _, err := u.ReadFrom(ctx, &seg); err != nil || seg.eof {
			return err
		}
		if e.Length < 0 { // Options.MaxUnfinished was not checked for the whole upload
			if err := e.checkGrowth(ctx); err != nil {
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
		if !pace.Overlap {
			if err := e.saveCheckpoint(context.WithoutCancel(ctx), point); err != nil {
				return err
			}
			continue
		}
		saving = make(chan error, 1)
		go func(done chan<- error) { // ends with saveCheckpoint; copyBody waits for it
			done <- e.saveCheckpoint(context.WithoutCancel(ctx), point)
		}(saving)
	}
}

// saveCheckpoint makes the bytes before point durable, and then point itself.
func (e *entry) saveCheckpoint(ctx context.Context, point uploads.Checkpoint) error {
	p := e.Progress
	p.Offset, p.Hash = point.Size, point.HashState
	p.Expires = time.Now().Add(e.server.opts.Expiry).Unix()
	if err := e.held.Save(ctx, p); err != nil {
		return err
	}
	// copyBody may read e.Length at the same time, so only these fields are written.
	e.Offset, e.Hash, e.Expires = p.Offset, p.Hash, p.Expires
	if report := e.server.opts.Progress; report != nil {
		report(e.ID, e.Offset, e.Length)
	}
	return nil
}

// watch returns a context for reading the body. The context ends when another request waits
// for the upload, or when the server is closed; then watch also calls interrupt, unless it
// is nil. The caller must still write the bytes that have been read, and must call stop, which
// returns the cause with which the context had ended, if it had.
func (e *entry) watch(ctx context.Context, interrupt func()) (readCtx context.Context, stop func() error) {
	readCtx, cancel := context.WithCancelCause(ctx)
	stopped, ended := make(chan struct{}), make(chan struct{})
	stopReading := func(cause error) {
		cancel(cause)
		if interrupt != nil {
			interrupt()
		}
	}
	go func() { // ends with stop, or after stopReading
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
				if e.held.Wanted() {
					e.server.log.InfoContext(ctx, "upload taken over", "upload", e.ID)
					stopReading(ErrTaken)
					return
				}
			}
		}
	}()
	return readCtx, func() error {
		close(stopped)
		<-ended
		cause := context.Cause(readCtx)
		cancel(nil) // ctx would keep readCtx, and often a goroutine, until it ends
		return cause
	}
}

// contextReader is a reader whose Read fails with the cause of ctx when that has ended.
type contextReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context
	r   io.Reader
}

func (w contextReader) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

// segment is a reader of the next part of a body. It returns io.EOF at the end of the body,
// after a number of bytes, or after the deadline if it has read at least one byte.
type segment struct {
	r         io.Reader
	remaining int64 // number of bytes that may still be read
	deadline  time.Time
	received  bool // true if at least one byte was read
	eof       bool // true if r has ended
}

func (s *segment) Read(p []byte) (int, error) {
	if s.remaining <= 0 || s.received && time.Now().After(s.deadline) {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.remaining)])
	s.remaining -= int64(n)
	s.received = s.received || n > 0
	s.eof = err == io.EOF // not errors.Is: a wrapped io.EOF is not the end
	return n, err
}

package uploadsocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/uploads"
)

const (
	// maxText is the limit of a text message, in bytes. The only valid one is "done".
	maxText = 125
	// readBuffer and writeBuffer are sizes in bytes. Larger reads bypass the buffer.
	readBuffer  = 4 << 10
	writeBuffer = 1 << 10
	// lingerTime is the time for the client to close after the last message. Until then
	// its data is read and dropped, so that it can read that message (RFC 6455 §7.1.1).
	// drainLinger is the same while the server shuts down.
	lingerTime  = 5 * time.Second
	drainLinger = 500 * time.Millisecond
)

var (
	// errDisconnected means that the client left before the end of the upload, so there
	// is no response.
	errDisconnected = errors.New("the client has disconnected")
	// errFrames means that the client violated RFC 6455.
	errFrames = errors.New("the client's frames violate RFC 6455")
	errUTF8   = errors.New("text is not UTF-8")
	errText   = uploads.WithReason(uploads.ErrMalformed, `binary messages are the file, and the only text is "done"`)
)

// session is an upload in progress. All methods but abort are for its own goroutine.
type session struct {
	server   *Server
	net      *server.Taken
	conn     *websocket.Conn
	request  Request
	log      *slog.Logger
	ctx      context.Context //nolint:containedctx // the session's own, which has no caller
	cancel   context.CancelCauseFunc
	reported bool // Request.Ended was called
}

// serve runs the session until the connection ends.
func (u *session) serve(h *upgrade.Handshake) {
	defer u.reportEnd(interrupted) // unless another end was reported
	defer u.net.Close()            //nolint:errcheck // close may have closed it
	o := upgrade.Options{ReadBuffer: readBuffer, WriteBuffer: writeBuffer, Timeout: u.server.opts.SendTimeout}
	conn, err := h.Accept(u.net, o)
	if err != nil {
		u.log.Debug("upload by websocket interrupted", "error", err)
		return
	}
	u.conn = conn
	u.run()
}

// interrupted is the result of an upload whose client has left.
var interrupted = uploads.ErrorResponse(uploads.ErrBody)

// reportEnd calls Request.Ended, once.
func (u *session) reportEnd(a uploads.Response) {
	if !u.reported {
		u.reported = true
		u.request.Ended(a)
	}
}

// run receives the file and sends the result.
func (u *session) run() {
	u.conn.SetCloseHandler(func(int, string) error { return nil }) // close responds, after the result
	u.conn.SetPongHandler(func(string) error { return u.extendDeadline() })
	stop := u.ping()
	defer stop()
	file, err := protect(u.take)
	if context.Cause(u.ctx) != nil && errors.Is(err, errDisconnected) {
		err = upgrade.ErrLeaving // the server ended the session
	}
	switch {
	case errors.Is(err, errFrames):
		u.reportEnd(uploads.ErrorResponse(uploads.ErrMalformed))
		code, reason, _ := upgrade.Fault(err)
		u.log.Debug("upload by websocket interrupted", "code", code, "error", err)
		u.close(code, reason)
		return
	case errors.Is(err, errDisconnected):
		u.log.Debug("upload by websocket interrupted", "error", err)
		return
	case err != nil:
		u.refuse(err)
		return
	}
	u.sendResult(uploads.NewResponse(file))
	u.close(websocket.CloseNormalClosure, "")
}

// protect calls take and turns a panic into an error: take parses untrusted bytes.
func protect(take func() (uploads.File, error)) (f uploads.File, err error) {
	err = pool.Protect(func() (err error) {
		f, err = take()
		return err
	})
	return f, err
}

// take reads messages until the file is complete, and publishes it.
func (u *session) take() (uploads.File, error) {
	upload, err := u.server.store.Create(u.ctx)
	if err != nil {
		return uploads.File{}, err
	}
	defer upload.Discard()
	for messages := 0; ; messages++ {
		end, err := u.message(upload)
		if err != nil {
			return uploads.File{}, err
		}
		if end == kindClosed && messages == 0 {
			return uploads.File{}, uploads.ErrNoFile
		}
		if end != kindData {
			break
		}
	}
	if u.request.Numbered {
		return upload.PublishNumbered(u.ctx, u.request.Directory, u.request.Filename)
	}
	return upload.Publish(u.ctx, u.request.Directory, u.request.Filename)
}

// messageKind is the meaning of a message.
type messageKind int

const (
	kindData   messageKind = iota // part of the file
	kindDone                      // end of the file
	kindClosed                    // end of the file by closing the connection
)

// message reads one message.
func (u *session) message(upload *uploads.Upload) (messageKind, error) {
	if err := u.extendDeadline(); err != nil {
		return kindData, fmt.Errorf("%w: %w", errDisconnected, err)
	}
	kind, r, err := u.conn.NextReader()
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseNoStatusReceived) {
		return kindClosed, nil
	}
	if err != nil {
		return kindData, readError(err)
	}
	source := &source{session: u, r: r}
	if kind == websocket.TextMessage {
		text, err := io.ReadAll(io.LimitReader(source, maxText+1))
		switch {
		case err != nil:
			return kindData, err
		case !utf8.Valid(text) && len(text) <= maxText:
			return kindData, errUTF8
		case string(text) != "done":
			return kindData, errText
		}
		return kindDone, nil
	}
	if _, err := upload.ReadFrom(u.ctx, source); err != nil {
		return kindData, err
	}
	if u.request.Written != nil {
		u.request.Written(upload.Size())
	}
	return kindData, u.send(map[string]int64{"offset": upload.Size()})
}

// source is a message that is being read. An error before its end is errDisconnected
// or errFrames.
type source struct {
	session *session
	r       io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.session.extendDeadline(); err != nil {
		return 0, fmt.Errorf("%w: %w", errDisconnected, err)
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped io.EOF is not the end of the message
		err = readError(err)
	}
	return n, err
}

// readError wraps an error of reading a message.
func readError(err error) error {
	if _, _, faulty := upgrade.Fault(err); faulty {
		return fmt.Errorf("%w: %w", errFrames, err)
	}
	return fmt.Errorf("%w: %w", errDisconnected, err)
}

// extendDeadline gives the client another IdleTimeout. It fails if the session was
// aborted.
func (u *session) extendDeadline() error {
	if err := u.conn.SetReadDeadline(time.Now().Add(u.server.opts.IdleTimeout)); err != nil {
		return err
	}
	return context.Cause(u.ctx) // checked after the deadline is set, since abort does both in reverse order
}

// abort ends the session from another goroutine and interrupts its reads and writes.
func (u *session) abort() {
	u.cancel(upgrade.ErrLeaving)
	_ = u.net.SetDeadline(time.Unix(1, 0)) // each write sets its own deadline
}

// ping sends pings until stop is called.
func (u *session) ping() (stop func()) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() { // ends with stop
		every := time.NewTicker(u.server.opts.IdleTimeout / 3)
		defer every.Stop()
		for {
			select {
			case <-end:
				return
			case <-every.C:
				// If it fails, the blocked read fails too.
				_ = u.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(u.server.opts.SendTimeout))
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

func (u *session) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode response: %w", err)
	}
	err = u.conn.SetWriteDeadline(time.Now().Add(u.server.opts.SendTimeout))
	if err == nil {
		err = u.conn.WriteMessage(websocket.TextMessage, text)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errDisconnected, err)
	}
	return nil
}

// sendResult sends the result of the upload. The file is stored or not, whether the
// client gets the result or not.
func (u *session) sendResult(a uploads.Response) {
	u.reportEnd(a)
	var response any = a
	if u.request.Response != nil {
		response = u.request.Response(a)
	}
	if err := u.send(response); err != nil {
		u.log.Debug("upload result not sent", "error", err)
	}
}

// refuse sends the result for err and closes with the matching close code.
func (u *session) refuse(err error) {
	if errors.Is(err, errUTF8) {
		u.reportEnd(uploads.ErrorResponse(uploads.ErrMalformed))
		u.close(websocket.CloseInvalidFramePayloadData, errUTF8.Error())
		return
	}
	a := uploads.ErrorResponse(err)
	code, level := websocket.ClosePolicyViolation, slog.LevelDebug
	switch {
	case errors.Is(err, upgrade.ErrLeaving):
		code, a.Reason = websocket.CloseServiceRestart, upgrade.ErrLeaving.Error()
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrClosed):
		code = websocket.CloseTryAgainLater
	case a.Code == uploads.CodeTooLarge:
		code = websocket.CloseMessageTooBig
	case a.Code == uploads.CodeInternal, a.Code == uploads.CodeNoSpace:
		code, level = websocket.CloseInternalServerErr, slog.LevelError
	case errors.Is(err, uploads.ErrMalformed):
		code = websocket.CloseUnsupportedData
	}
	u.log.Log(u.ctx, level, "upload by websocket refused", "directory", u.request.Directory, "filename", u.request.Filename,
		"code", a.Code, "error", err)
	u.sendResult(a)
	u.close(code, a.Reason)
}

// close closes the WebSocket and waits, within limits, for the client to close.
func (u *session) close(code int, reason string) {
	wait := lingerTime
	if code == websocket.CloseServiceRestart || u.server.draining() {
		wait = drainLinger
	}
	err := u.conn.WriteControl(websocket.CloseMessage, upgrade.CloseFrame(code, reason), time.Now().Add(wait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) { // the library sends some itself
		return
	}
	_ = u.net.Finish(wait)
}

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
	// maxText is the limit of a text message, in bytes. The only valid text is "done".
	maxText = 125
	// readBuffer and writeBuffer are sizes in bytes. Larger reads bypass the read buffer.
	readBuffer  = 4 << 10
	writeBuffer = 1 << 10
	// lingerTime is the time limit for the client to close the connection after the close
	// frame. Until then its data is read and dropped. Otherwise the kernel would reset the
	// connection, and the client could lose the result (RFC 6455 section 7.1.1).
	// drainLinger is the limit while the server shuts down.
	lingerTime  = 5 * time.Second
	drainLinger = 500 * time.Millisecond
)

var (
	// errDisconnected means that the client disconnected before the end of the upload, so
	// no result can be sent.
	errDisconnected = errors.New("the client has disconnected")
	// errFrames means that the client violated RFC 6455.
	errFrames = errors.New("the client's frames violate RFC 6455")
	errUTF8   = errors.New("text is not UTF-8")
	errText   = uploads.WithReason(uploads.ErrMalformed, `binary messages are the file, and the only text is "done"`)
)

// session is an upload in progress. Only its own goroutine calls its methods, except
// abort.
type session struct {
	server   *Server
	net      *server.Taken
	conn     *websocket.Conn
	request  Request
	permit   uploads.Permit
	log      *slog.Logger
	ctx      context.Context //nolint:containedctx // context of the session, which has no caller
	cancel   context.CancelCauseFunc
	reported bool // true after Request.Ended was called
}

// serve runs the session until the connection ends.
func (u *session) serve(h *upgrade.Handshake) {
	defer u.reportEnd(interrupted) // does nothing if a result was reported
	defer u.net.Close()            //nolint:errcheck // u.close may have closed it already
	o := upgrade.Options{ReadBuffer: readBuffer, WriteBuffer: writeBuffer, Timeout: u.server.opts.SendTimeout}
	conn, err := h.Accept(u.net, o)
	if err != nil {
		u.log.Debug("upload by websocket interrupted", "error", err)
		return
	}
	u.conn = conn
	u.run()
}

// interrupted is the result of an upload whose client has disconnected.
var interrupted = uploads.ErrorResponse(uploads.ErrBody)

// reportEnd calls Request.Ended, unless it was called before.
func (u *session) reportEnd(result uploads.Response) {
	if !u.reported {
		u.reported = true
		u.request.Ended(result)
	}
}

// run receives the file and sends the result.
func (u *session) run() {
	u.conn.SetCloseHandler(func(int, string) error { return nil }) // the close method sends the close frame, after the result
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

// protect calls take and turns a panic into an error, since take parses untrusted data.
func protect(take func() (uploads.File, error)) (f uploads.File, err error) {
	err = pool.Protect(func() (err error) {
		f, err = take()
		return err
	})
	return f, err
}

// take reads messages until the file is complete, and publishes it.
func (u *session) take() (uploads.File, error) {
	directory, filename := u.request.Directory, u.request.Filename
	if u.request.Numbered { // the name is not known yet
		directory, filename = "", ""
	}
	upload, err := u.server.store.Create(u.ctx, directory, filename)
	if err != nil {
		return uploads.File{}, err
	}
	defer upload.Discard()
	upload.Apply(u.permit)
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

// source is a reader of one message. An error before the end of the message wraps
// errDisconnected or errFrames.
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

// readError wraps err, the error of reading a message, in errFrames or errDisconnected.
func readError(err error) error {
	if _, _, faulty := upgrade.Fault(err); faulty {
		return fmt.Errorf("%w: %w", errFrames, err)
	}
	return fmt.Errorf("%w: %w", errDisconnected, err)
}

// extendDeadline sets the read deadline to IdleTimeout from now. The error is the cause of
// an abort.
func (u *session) extendDeadline() error {
	if err := u.conn.SetReadDeadline(time.Now().Add(u.server.opts.IdleTimeout)); err != nil {
		return err
	}
	// abort ends ctx first and then sets the deadline. Here the order is reversed, so that an
	// abort at the same time is not missed.
	return context.Cause(u.ctx)
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
				// The error can be ignored: then the blocked read fails too.
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

// sendResult sends the result of the upload. If that fails, it is only logged: a stored
// file stays stored.
func (u *session) sendResult(result uploads.Response) {
	u.reportEnd(result)
	var response any = result
	if u.request.Response != nil {
		response = u.request.Response(result)
	}
	if err := u.send(response); err != nil {
		u.log.Debug("upload result not sent", "error", err)
	}
}

// refuse sends the result for err and closes the WebSocket with the close code for err.
func (u *session) refuse(err error) {
	if errors.Is(err, errUTF8) {
		u.reportEnd(uploads.ErrorResponse(uploads.ErrMalformed))
		u.close(websocket.CloseInvalidFramePayloadData, errUTF8.Error())
		return
	}
	result := uploads.ErrorResponse(err)
	code, level := websocket.ClosePolicyViolation, slog.LevelDebug
	switch {
	case errors.Is(err, upgrade.ErrLeaving):
		code, result.Reason = websocket.CloseServiceRestart, upgrade.ErrLeaving.Error()
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrClosed), errors.Is(err, uploads.ErrUnavailable), uploads.IsOutOfFiles(err):
		code = websocket.CloseTryAgainLater
	case result.Code == uploads.CodeTooLarge:
		code = websocket.CloseMessageTooBig
	case result.Code == uploads.CodeInternal, result.Code == uploads.CodeNoSpace:
		code, level = websocket.CloseInternalServerErr, slog.LevelError
	case errors.Is(err, uploads.ErrMalformed):
		code = websocket.CloseUnsupportedData
	}
	u.log.Log(u.ctx, level, "upload by websocket refused", "directory", u.request.Directory, "filename", u.request.Filename,
		"code", result.Code, "error", err)
	u.sendResult(result)
	u.close(code, result.Reason)
}

// close sends a close frame, waits for the client to close the connection, at most for
// lingerTime, and closes it.
func (u *session) close(code int, reason string) {
	wait := lingerTime
	if code == websocket.CloseServiceRestart || u.server.draining() {
		wait = drainLinger
	}
	err := u.conn.WriteControl(websocket.CloseMessage, upgrade.CloseFrame(code, reason), time.Now().Add(wait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) { // ErrCloseSent: the library has already sent a close frame
		return
	}
	_ = u.net.Finish(wait)
}

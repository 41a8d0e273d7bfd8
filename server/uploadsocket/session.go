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
	// maxText is the limit of a text message, in bytes; the only one is "done".
	maxText = 125
	// readBuffer and writeBuffer are in bytes; what is larger goes past the first.
	readBuffer  = 4 << 10
	writeBuffer = 1 << 10
	// lingerTime is how long the client's own close is waited for after the last
	// answer, and what it still sends is read, so that it reads that answer (RFC
	// 6455 §7.1.1); leaveTime is the same when the server has to go.
	lingerTime  = 5 * time.Second
	drainLinger = 500 * time.Millisecond
)

var (
	// errGone is an upload whose sender went away before its end: nobody is
	// left to be answered.
	errDisconnected = errors.New("the client went away")
	// errFrames is an upload whose sender broke the protocol.
	errFrames = errors.New("the client's frames break RFC 6455")
	errUTF8   = errors.New("text is not UTF-8")
	errText   = uploads.Because(uploads.ErrMalformed, `binary messages are the file, and the only text is "done"`)
)

// session is an upload under way. All but cut is for its own goroutine.
type session struct {
	server   *Server
	net      *server.Taken
	conn     *websocket.Conn
	request  Request
	log      *slog.Logger
	ctx      context.Context //nolint:containedctx // the session's own, which has no caller
	cancel   context.CancelCauseFunc
	reported bool // how it ended
}

// serve is the life of the connection.
func (u *session) serve(h *upgrade.Handshake) {
	defer u.reportEnd(interrupted) // unless it has ended otherwise
	defer u.net.Close()            //nolint:errcheck // where close has ended it, it is closed
	o := upgrade.Options{ReadBuffer: readBuffer, WriteBuffer: writeBuffer, Timeout: u.server.opts.SendTimeout}
	conn, err := h.Accept(u.net, o)
	if err != nil {
		u.log.Debug("upload by websocket broke off", "error", err)
		return
	}
	u.conn = conn
	u.run()
}

// brokenOff is how an upload ended that there is nobody to answer for.
var interrupted = uploads.Refuse(uploads.ErrBody)

// ended tells how the upload ended, once.
func (u *session) reportEnd(a uploads.Answer) {
	if !u.reported {
		u.reported = true
		u.request.Ended(a)
	}
}

// run takes the file and answers.
func (u *session) run() {
	u.conn.SetCloseHandler(func(int, string) error { return nil }) // answered in close, after the rest
	u.conn.SetPongHandler(func(string) error { return u.extendDeadline() })
	stop := u.ping()
	defer stop()
	file, err := protect(u.take)
	if context.Cause(u.ctx) != nil && errors.Is(err, errDisconnected) {
		err = upgrade.ErrLeaving // it is the server that went
	}
	switch {
	case errors.Is(err, errFrames):
		u.reportEnd(uploads.Refuse(uploads.ErrMalformed))
		code, reason, _ := upgrade.Fault(err)
		u.log.Debug("upload by websocket broke off", "code", code, "error", err)
		u.close(code, reason)
		return
	case errors.Is(err, errDisconnected):
		u.log.Debug("upload by websocket broke off", "error", err)
		return
	case err != nil:
		u.refuse(err)
		return
	}
	u.sendResult(uploads.NewAnswer(file))
	u.close(websocket.CloseNormalClosure, "")
}

// pooled calls take, where foreign bytes enter, and makes an error of a panic.
func protect(take func() (uploads.File, error)) (f uploads.File, err error) {
	err = pool.Protect(func() (err error) {
		f, err = take()
		return err
	})
	return f, err
}

// take reads messages until the file is whole, and publishes it.
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

// verdict is what a message says of the file.
type messageKind int

const (
	kindData   messageKind = iota // it was a piece
	kindDone                      // there is no more
	kindClosed                    // so says the end of the connection
)

// message takes one message.
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

// source is a message being read; what ends it before its end is errGone or
// errFrames.
type source struct {
	session *session
	r       io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.session.extendDeadline(); err != nil {
		return 0, fmt.Errorf("%w: %w", errDisconnected, err)
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // an io.EOF with anything around it is none
		err = readError(err)
	}
	return n, err
}

// broken wraps an error of reading a message.
func readError(err error) error {
	if _, _, faulty := upgrade.Fault(err); faulty {
		return fmt.Errorf("%w: %w", errFrames, err)
	}
	return fmt.Errorf("%w: %w", errDisconnected, err)
}

// alive gives the client another IdleTimeout, unless the session has been cut.
func (u *session) extendDeadline() error {
	if err := u.conn.SetReadDeadline(time.Now().Add(u.server.opts.IdleTimeout)); err != nil {
		return err
	}
	return context.Cause(u.ctx) // after the deadline: cut goes in the other order
}

// cut ends the session from another goroutine: what it waits for, it waits for
// no longer.
func (u *session) abort() {
	u.cancel(upgrade.ErrLeaving)
	_ = u.net.SetDeadline(time.Unix(1, 0)) // each write sets its own
}

// ping asks the client for a sign of life from time to time until stop is called.
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
				// If it fails, the read that waits will find out.
				_ = u.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(u.server.opts.SendTimeout))
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

func (u *session) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
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

// answer sends what has become of the file. It is there for good, or it is not:
// that nobody hears of it changes nothing.
func (u *session) sendResult(a uploads.Answer) {
	u.reportEnd(a)
	var response any = a
	if u.request.Response != nil {
		response = u.request.Response(a)
	}
	if err := u.send(response); err != nil {
		u.log.Debug("answer not sent", "error", err)
	}
}

// refuse answers an upload that err ended, and closes with the code that fits.
func (u *session) refuse(err error) {
	if errors.Is(err, errUTF8) {
		u.reportEnd(uploads.Refuse(uploads.ErrMalformed))
		u.close(websocket.CloseInvalidFramePayloadData, errUTF8.Error())
		return
	}
	a := uploads.Refuse(err)
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

// close closes the WebSocket and waits, within limits, for the client to do so.
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

package realtime

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server/upgrade"
)

var (
	errUTF8    = errors.New("text is not UTF-8")
	errTooLong = errors.New("message too long")
)

// read passes messages to the handler until reading fails, and returns the error. It is
// errIdle if the connection can be parked.
func (c *Conn) read() error {
	for {
		if upgrade.BetweenMessages(c.ws) {
			if err := c.net.await(c.pong); err != nil {
				return err
			}
		}
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		// The library's limit applies before decompression.
		data, err := io.ReadAll(io.LimitReader(r, c.hub.opts.MaxMessage+1))
		switch {
		case err != nil:
			return err
		case int64(len(data)) > c.hub.opts.MaxMessage:
			return errTooLong
		case kind == websocket.TextMessage && !utf8.Valid(data):
			return errUTF8
		}
		c.net.received(c.hub.stay)
		c.hub.opts.Meter.Received()
		c.net.handling.Store(true)
		if wait := c.rate.take(time.Now(), c.hub.opts.MessageRate); wait > 0 {
			<-time.After(wait) // less than a second
		}
		m := Message{Binary: kind == websocket.BinaryMessage, Data: data}
		if err := pool.Protect(func() error { c.handler.Message(c, m); return nil }); err != nil {
			c.failHandler(err)
		}
		// Wait until the queue is written before reading the next message, for two
		// reasons. If the next frame is malformed, the library sends a close frame
		// immediately, before the messages in the queue. And a client that does not read
		// gets backpressure.
		c.flush()
		c.net.handling.Store(false)
	}
}

// completeClose sends a close frame if one is needed after err, the error that ended
// reading. It returns the close code and reason for Handler.Closed, and a function that
// closes the connection.
func (c *Conn) completeClose(err error) (code int, reason string, end func() error) {
	closed, byClient := errors.AsType[*websocket.CloseError](err)
	byClient = byClient && closed.Code != websocket.CloseAbnormalClosure // the library's code for io.EOF
	c.closeReason.Lock()
	code, reason = c.closeReason.code, c.closeReason.reason
	c.closeReason.Unlock()
	faultCode, fault, faulty := upgrade.Fault(err)
	decided := code != 0 // this side has already queued or sent a close frame, or cannot send one
	switch {
	case byClient && !decided:
		code, reason = closed.Code, closed.Text
	case decided:
	case errors.Is(err, errUTF8):
		code, reason = websocket.CloseInvalidFramePayloadData, err.Error()
	case errors.Is(err, errTooLong), errors.Is(err, websocket.ErrReadLimit):
		code, reason = websocket.CloseMessageTooBig, errTooLong.Error()
	case faulty:
		code, reason = faultCode, fault
	default:
		code, reason = websocket.CloseAbnormalClosure, err.Error()
	}
	c.end() // drops the queue
	if !decided && code != websocket.CloseAbnormalClosure {
		echo := code
		if byClient && code == websocket.CloseNoStatusReceived {
			echo = 0
		}
		frame := []byte{}
		if echo != 0 {
			frame = websocket.FormatCloseMessage(echo, "")
		}
		// The library has sent a close frame already for errors that it detected.
		_ = c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
	}
	if code == websocket.CloseAbnormalClosure || byClient && decided {
		return code, reason, c.net.Close
	}
	return code, reason, func() error { return c.net.Finish(closeTimeout) }
}

// rate limits messages per second.
type rate struct {
	second time.Time
	count  int
}

// take counts a message and returns the time to wait before it is handled. limit is the
// maximum number of messages per second.
func (r *rate) take(now time.Time, limit int) time.Duration {
	if now.Sub(r.second) >= time.Second {
		r.second, r.count = now, 0
	}
	if r.count++; r.count <= limit {
		return 0
	}
	wait := time.Second - now.Sub(r.second)
	r.second, r.count = now.Add(wait), 1
	return wait
}

// jitter returns a duration from 10 % less to 5 % more than d. The wheel adds up to
// two ticks.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(max(1, d*3/20)) }

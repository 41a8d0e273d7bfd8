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

// read hands messages to the handler until there are no more, and returns why.
func (c *Conn) read() error {
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		// The library's limit is on the bytes that come, not on what they inflate to.
		data, err := io.ReadAll(io.LimitReader(r, c.hub.opts.MaxMessage+1))
		switch {
		case err != nil:
			return err
		case int64(len(data)) > c.hub.opts.MaxMessage:
			return errTooLong
		case kind == websocket.TextMessage && !utf8.Valid(data):
			return errUTF8
		}
		c.hub.opts.Meter.Received()
		c.handling.Store(true)
		if wait := c.rate.take(time.Now(), c.hub.opts.MessageRate); wait > 0 {
			<-time.After(wait) // less than a second
		}
		m := Message{Binary: kind == websocket.BinaryMessage, Data: data}
		if err := pool.Protect(func() error { c.handler.Message(c, m); return nil }); err != nil {
			c.failHandler(err)
		}
		// Before the next is looked at: the library answers a bad frame by itself,
		// past the queue, and a client that takes no answers need not be heard.
		c.flush()
		c.handling.Store(false)
	}
}

// finish says goodbye as the end of reading demands. It returns what the handler
// hears of it, and how the connection is to be ended then.
func (c *Conn) completeClose(err error) (code int, reason string, end func() error) {
	closed, byClient := errors.AsType[*websocket.CloseError](err)
	byClient = byClient && closed.Code != websocket.CloseAbnormalClosure // what the library makes of io.EOF
	c.closeReason.Lock()
	code, reason = c.closeReason.code, c.closeReason.reason
	c.closeReason.Unlock()
	faultCode, fault, faulty := upgrade.Fault(err)
	decided := code != 0 // a close frame is on its way, or nothing can be sent
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
	c.end() // what the client has not read by now it will not read any more
	if !decided && code != websocket.CloseAbnormalClosure {
		echo := code
		if byClient && code == websocket.CloseNoStatusReceived {
			echo = 0
		}
		frame := []byte{}
		if echo != 0 {
			frame = websocket.FormatCloseMessage(echo, "")
		}
		// The library has sent one already for what it found wrong itself.
		_ = c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
	}
	if code == websocket.CloseAbnormalClosure || byClient && decided {
		return code, reason, c.net.Close
	}
	return code, reason, func() error { return c.net.Finish(closeTimeout) }
}

// rate counts messages by the second.
type rate struct {
	second time.Time
	count  int
}

// take counts one more and returns how long it has to wait for its turn.
func (r *rate) take(now time.Time, most int) time.Duration {
	if now.Sub(r.second) >= time.Second {
		r.second, r.count = now, 0
	}
	if r.count++; r.count <= most {
		return 0
	}
	wait := time.Second - now.Sub(r.second)
	r.second, r.count = now.Add(wait), 1
	return wait
}

// jitter is d, a tenth less or up to a twentieth more; the wheel adds its own.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(max(1, d*3/20)) }

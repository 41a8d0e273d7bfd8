package realtime

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Stream is a response whose body is sent over a longer time: server-sent events, or a long
// poll. It needs no goroutine while nothing is written. It ends when the client
// disconnects.
type Stream struct {
	outbox
	client       netip.Addr
	net          *deadlineConn
	chunked      bool // true if the body has the chunked transfer coding
	closed       atomic.Bool
	unwatch      func() // stops watching for a disconnect of the client
	drainMessage []byte // last bytes of the body if the process shuts down
}

// Stream turns the response to a request into a Stream. Meter counts it as kind. The status
// and the header fields are those that the handler has set in ctx.Response. open prepares
// the Stream before the response is sent: it may subscribe, queue data, set timers and
// store the Stream for other goroutines. After an error, which is upgrade.ErrLeaving or
// that of open, nothing was sent, and the handler must return it.
func (h *Hub) Stream(ctx *fasthttp.RequestCtx, kind Kind, open func(*Stream) error) error {
	if h.isDraining() {
		return upgrade.ErrLeaving
	}
	s := &Stream{client: server.Client(ctx), unwatch: func() {}}
	s.outbox = outbox{hub: h, wire: s, kind: kind, writing: true} // blocked until there is a connection
	if err := open(s); err != nil {
		s.end()
		return err
	}
	var head []byte
	head, s.chunked = server.Head(ctx)
	err := server.Take(ctx, func(t *server.Taken) {
		s.net = &deadlineConn{Taken: t, timeout: h.opts.SendTimeout, plain: t.CanWatch()}
		if err := h.add(s); err != nil {
			// The process has begun to shut down in the meantime. End the response in
			// the same way as those of the open streams.
			s.end()
			_ = s.net.writeFrame(append(head, s.chunk(item{data: s.drainMessage, final: true})...))
			_ = s.net.Finish(closeTimeout)
			return
		}
		s.setUnwatch(t.Watch(func() { h.goroutines.Go(s.abort) })) // does not block
		h.goroutines.Go(func() {                                   // ends when the queue is empty
			if err := s.net.writeFrame(head); err != nil {
				s.abort()
				return
			}
			s.run()
		})
	})
	if err != nil {
		s.end()
	}
	return err
}

// setUnwatch stores stop, the function that stops watching the client. If the stream is
// already closed, it calls stop.
func (s *Stream) setUnwatch(stop func()) {
	s.mu.Lock()
	s.unwatch = stop
	s.mu.Unlock()
	if s.closed.Load() {
		stop()
	}
}

// Send queues bytes of the body and does not block. It returns ErrClosed after the end of
// the stream, and another error if the queue is full (see Options.Queue).
func (s *Stream) Send(data []byte) error { return s.enqueue(item{data: data}) }

// Finish sends the last bytes and ends the response. Later calls return ErrClosed.
func (s *Stream) Finish(data []byte) error { return s.enqueue(item{data: data, final: true}) }

// SetDrainMessage sets the last bytes of the body for the case that the process shuts
// down. It may be called only in open (see Hub.Stream).
func (s *Stream) SetDrainMessage(data []byte) { s.drainMessage = data }

// After calls call after d, unless the stream has ended by then. call must not block.
func (s *Stream) After(d time.Duration, call func()) {
	s.schedule(d, call)
}

// Every sends data about once in each interval (from 10 % shorter to 5 % longer), so that
// proxies do not close an idle connection. Meter does not count it as a message.
func (s *Stream) Every(interval time.Duration, data []byte) {
	s.After(jitter(interval), func() {
		_ = s.enqueue(item{kind: websocket.PingMessage, data: data}) // dropped if the queue is full
		s.Every(interval, data)
	})
}

// Subscribe is Conn.Subscribe for a stream. It may be called only in open (see Hub.Stream).
func (s *Stream) Subscribe(ctx context.Context, b *Bus, start Start, form *Form, announce func(Position) []byte) error {
	sub := &subscription{box: &s.outbox, form: form, wrap: wrapChunk, onGap: s.gapItem}
	position, err := b.subscribe(ctx, start, sub)
	if err == nil && announce != nil {
		if err = s.Send(announce(position)); err != nil {
			sub.stop()
		}
	}
	if err != nil {
		return err
	}
	if err := s.attach(sub); err != nil {
		sub.stop()
		return err
	}
	return nil
}

// wrapChunk makes an item that is encoded once for all streams with chunked bodies.
func wrapChunk(data []byte) item { return item{data: data, shared: appendChunk(nil, data)} }

// gapItem ends a stream whose form cannot encode a gap.
func (s *Stream) gapItem() item {
	s.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", s.client)
	return item{final: true}
}

// chunk returns the bytes to write for an item: a chunk if the body is chunked, otherwise
// the data itself.
func (s *Stream) chunk(it item) []byte {
	if !s.chunked {
		return it.data
	}
	if it.shared != nil && !it.final {
		return it.shared
	}
	framed := appendChunk(make([]byte, 0, len(it.data)+32), it.data)
	if it.final {
		framed = append(framed, "0\r\n\r\n"...)
	}
	return framed
}

// appendChunk appends a chunk (RFC 9112 §7.1) with data, which may be empty: then there is no
// chunk.
func appendChunk(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	b = append(strconv.AppendInt(b, int64(len(data)), 16), "\r\n"...)
	return append(append(b, data...), "\r\n"...)
}

// write implements wire.
func (s *Stream) write(it item) error {
	if err := s.net.writeFrame(s.chunk(it)); err != nil {
		return err
	}
	if it.final {
		s.hub.goroutines.Go(func() { s.close(func() error { return s.net.Finish(closeTimeout) }) }) // ends when the client closes, or after five seconds
	}
	return nil
}

// tryWrite implements wire.
func (s *Stream) tryWrite(it item) (later func() error, err error) {
	if it.final {
		return func() error { return s.write(it) }, nil
	}
	return s.net.tryWrite(s.chunk(it))
}

// writeFailed implements wire.
func (s *Stream) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.reportSlowConsumer(s.client)
	}
	s.abort()
}

func (s *Stream) closeGracefully() { _ = s.Finish(s.drainMessage) }

func (s *Stream) abort() { s.close(s.net.Reset) }

// close ends the stream and, by calling end, its connection. Only the first call has an
// effect.
func (s *Stream) close(end func() error) {
	if !s.closed.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	stop := s.unwatch
	s.mu.Unlock()
	stop()
	s.end()
	_ = end()
	s.hub.remove(s)
}

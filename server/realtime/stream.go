package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Stream is a response whose body continues: server-sent events, or a long poll. It
// needs no goroutine while nothing is written, and it ends when the client leaves.
type Stream struct {
	outbox
	client       netip.Addr
	net          *deadlineConn
	chunked      bool
	closed       atomic.Bool
	unwatch      func()
	drainMessage []byte // final bytes of closeGracefully
}

// Stream turns the response to a request into a Stream, for which kind is the kind in
// a Meter. The head has the fields that the handler has set in ctx.Response. open
// prepares the Stream, which others may then use. The error is upgrade.ErrLeaving or
// that of open, for the handler to return; nothing was sent then.
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
		s.net = &deadlineConn{Taken: t, timeout: h.opts.SendTimeout}
		if err := h.add(s); err != nil {
			// The process has begun to shut down meanwhile. The response ends like
			// the open ones.
			s.end()
			_, _ = s.net.Write(append(head, s.chunk(item{data: s.drainMessage, final: true})...))
			_ = s.net.Finish(closeTimeout)
			return
		}
		s.setUnwatch(t.Watch(func() { h.goroutines.Go(s.abort) })) // ends at once
		h.goroutines.Go(func() {                                   // ends when the queue is empty
			if _, err := s.net.Write(head); err != nil {
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

// setUnwatch stores the function that stops watching the client. If the stream is
// closed already, it calls it.
func (s *Stream) setUnwatch(stop func()) {
	s.mu.Lock()
	s.unwatch = stop
	s.mu.Unlock()
	if s.closed.Load() {
		stop()
	}
}

// Send queues bytes of the body. If the queue is full it returns an error and does not
// wait.
func (s *Stream) Send(data []byte) error { return s.enqueue(item{data: data}) }

// Finish sends the last bytes and ends the response. Later calls return ErrClosed.
func (s *Stream) Finish(data []byte) error { return s.enqueue(item{data: data, final: true}) }

// SetDrainMessage sets the last bytes that are sent when the process shuts down. It may be
// called in open only.
func (s *Stream) SetDrainMessage(data []byte) { s.drainMessage = data }

// After calls call after d, unless the stream has ended by then. call must not block.
func (s *Stream) After(d time.Duration, call func()) {
	s.schedule(d, call)
}

// Every sends data about once in each interval, to keep proxies from closing the
// connection.
func (s *Stream) Every(interval time.Duration, data []byte) {
	s.After(jitter(interval), func() {
		_ = s.enqueue(item{kind: websocket.PingMessage, data: data}) // dropped if the queue is full
		s.Every(interval, data)
	})
}

// Subscribe is Conn.Subscribe for a stream. It may be called in open only.
func (s *Stream) Subscribe(ctx context.Context, b *Bus, start Start, form *Form, announce func(Position) []byte) error {
	sub := &subscription{box: &s.outbox, form: form, wrap: func(data []byte) item { return item{data: data} }, onGap: s.gapItem}
	place, err := b.subscribe(ctx, start, sub)
	if err == nil && announce != nil {
		err = s.Send(announce(place))
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

// gapItem ends a stream whose form cannot encode a gap.
func (s *Stream) gapItem() item {
	s.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", s.client)
	return item{final: true}
}

// chunk returns an item as it is written: as a chunk, if the body is chunked.
func (s *Stream) chunk(it item) []byte {
	if !s.chunked {
		return it.data
	}
	framed := make([]byte, 0, len(it.data)+32)
	if len(it.data) > 0 {
		framed = fmt.Appendf(framed, "%x\r\n", len(it.data))
		framed = append(append(framed, it.data...), "\r\n"...)
	}
	if it.final {
		framed = append(framed, "0\r\n\r\n"...)
	}
	return framed
}

// write implements wire.
func (s *Stream) write(it item) error {
	if _, err := s.net.Write(s.chunk(it)); err != nil {
		return err
	}
	if it.final {
		s.hub.goroutines.Go(func() { s.close(func() error { return s.net.Finish(closeTimeout) }) }) // ends when the client closes, or after five seconds
	}
	return nil
}

// failed implements wire.
func (s *Stream) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.reportSlowConsumer(s.client)
	}
	s.abort()
}

func (s *Stream) closeGracefully() { _ = s.Finish(s.drainMessage) }

func (s *Stream) abort() { s.close(s.net.Reset) }

// close ends the connection, once.
func (s *Stream) close(how func() error) {
	if !s.closed.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	stop := s.unwatch
	s.mu.Unlock()
	stop()
	s.end()
	_ = how()
	s.hub.remove(s)
}

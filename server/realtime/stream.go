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

// Stream is an answer that goes on: server-sent events, a long poll. While
// nothing happens it holds no goroutine; that the client leaves is noticed.
type Stream struct {
	outbox
	client       netip.Addr
	net          *deadlineConn
	chunked      bool
	closed       atomic.Bool
	unwatch      func()
	drainMessage []byte // what leave sends
}

// Stream answers a request with what open, and those it tells, will write; kind is
// what a Meter hears of it. The head is sent with what the handler has set in ctx.Response. The error,
// upgrade.ErrLeaving or open's own, is for the handler to return; nothing was sent then.
func (h *Hub) Stream(ctx *fasthttp.RequestCtx, kind Kind, open func(*Stream) error) error {
	if h.isDraining() {
		return upgrade.ErrLeaving
	}
	s := &Stream{client: server.Client(ctx), unwatch: func() {}}
	s.outbox = outbox{hub: h, wire: s, kind: kind, writing: true} // held back until there is a connection
	if err := open(s); err != nil {
		s.end()
		return err
	}
	var head []byte
	head, s.chunked = server.Head(ctx)
	err := server.Take(ctx, func(t *server.Taken) {
		s.net = &deadlineConn{Taken: t, timeout: h.opts.SendTimeout}
		if err := h.add(s); err != nil {
			// The process began to leave in this instant. The response ends like
			// those that were open then.
			s.end()
			_, _ = s.net.Write(append(head, s.chunk(item{data: s.drainMessage, final: true})...))
			_ = s.net.Finish(closeTimeout)
			return
		}
		s.setUnwatch(t.Watch(func() { h.goroutines.Go(s.abort) })) // ends at once
		h.goroutines.Go(func() {                                   // ends when what there is has been written
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

// watched notes how to stop watching, or does so if it is over already.
func (s *Stream) setUnwatch(stop func()) {
	s.mu.Lock()
	s.unwatch = stop
	s.mu.Unlock()
	if s.closed.Load() {
		stop()
	}
}

// Send queues bytes of the body, if there is room for them: a stream's writers
// do not wait.
func (s *Stream) Send(data []byte) error { return s.enqueue(item{data: data}) }

// Finish sends the last bytes and ends the answer. Once is enough: what comes
// later is ErrClosed.
func (s *Stream) Finish(data []byte) error { return s.enqueue(item{data: data, final: true}) }

// Goodbye is what is sent last when the process ends. It is for open.
func (s *Stream) SetDrainMessage(data []byte) { s.drainMessage = data }

// After calls call in d, while the stream is open. call must not block.
func (s *Stream) After(d time.Duration, call func()) {
	s.schedule(d, call)
}

// Every sends data each interval, about: a sign of life for what stands between.
func (s *Stream) Every(interval time.Duration, data []byte) {
	s.After(jitter(interval), func() {
		_ = s.enqueue(item{kind: websocket.PingMessage, data: data}) // a client with no room has signs enough
		s.Every(interval, data)
	})
}

// Subscribe is Conn.Subscribe for a stream. It is for open.
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

// lost ends a stream that lost messages and whose form cannot say so.
func (s *Stream) gapItem() item {
	s.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", s.client)
	return item{final: true}
}

// framed is an item as it is written.
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
		s.hub.goroutines.Go(func() { s.close(func() error { return s.net.Finish(closeTimeout) }) }) // ends with the client, or after five seconds
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

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
	client  netip.Addr
	net     *paced
	chunked bool
	over    atomic.Bool
	unwatch func()
	goodbye []byte // what leave sends
}

// Stream answers a request with what open, and those it tells, will write; kind is
// what a Meter hears of it. The head is sent with what the handler has set in ctx.Response. The error,
// upgrade.ErrLeaving or open's own, is for the handler to return; nothing was sent then.
func (h *Hub) Stream(ctx *fasthttp.RequestCtx, kind Kind, open func(*Stream) error) error {
	if h.refuses() {
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
		s.net = &paced{Taken: t, timeout: h.opts.SendTimeout}
		if err := h.add(s); err != nil {
			// The process began to leave in this instant. The response ends like
			// those that were open then.
			s.end()
			_, _ = s.net.Write(append(head, s.framed(item{data: s.goodbye, last: true})...))
			_ = s.net.Finish(closeTimeout)
			return
		}
		s.watched(t.Watch(func() { h.work.Go(s.cut) })) // ends at once
		h.work.Go(func() {                              // ends when what there is has been written
			if _, err := s.net.Write(head); err != nil {
				s.cut()
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
func (s *Stream) watched(stop func()) {
	s.mu.Lock()
	s.unwatch = stop
	s.mu.Unlock()
	if s.over.Load() {
		stop()
	}
}

// Send queues bytes of the body, if there is room for them: a stream's writers
// do not wait.
func (s *Stream) Send(data []byte) error { return s.put(item{data: data}) }

// Finish sends the last bytes and ends the answer. Once is enough: what comes
// later is ErrClosed.
func (s *Stream) Finish(data []byte) error { return s.put(item{data: data, last: true}) }

// Goodbye is what is sent last when the process ends. It is for open.
func (s *Stream) Goodbye(data []byte) { s.goodbye = data }

// After calls call in d, while the stream is open. call must not block.
func (s *Stream) After(d time.Duration, call func()) {
	s.after(d, call)
}

// Every sends data each interval, about: a sign of life for what stands between.
func (s *Stream) Every(interval time.Duration, data []byte) {
	s.After(jitter(interval), func() {
		_ = s.put(item{kind: websocket.PingMessage, data: data}) // a client with no room has signs enough
		s.Every(interval, data)
	})
}

// Subscribe is Conn.Subscribe for a stream. It is for open.
func (s *Stream) Subscribe(ctx context.Context, b *Bus, start Start, form *Form, tell func(Place) []byte) error {
	sub := &subscription{box: &s.outbox, form: form, pack: func(data []byte) item { return item{data: data} }, lost: s.lost}
	place, err := b.subscribe(ctx, start, sub)
	if err == nil && tell != nil {
		err = s.Send(tell(place))
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
func (s *Stream) lost() item {
	s.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", s.client)
	return item{last: true}
}

// framed is an item as it is written.
func (s *Stream) framed(it item) []byte {
	if !s.chunked {
		return it.data
	}
	framed := make([]byte, 0, len(it.data)+32)
	if len(it.data) > 0 {
		framed = fmt.Appendf(framed, "%x\r\n", len(it.data))
		framed = append(append(framed, it.data...), "\r\n"...)
	}
	if it.last {
		framed = append(framed, "0\r\n\r\n"...)
	}
	return framed
}

// write implements wire.
func (s *Stream) write(it item) error {
	if _, err := s.net.Write(s.framed(it)); err != nil {
		return err
	}
	if it.last {
		s.hub.work.Go(func() { s.close(func() error { return s.net.Finish(closeTimeout) }) }) // ends with the client, or after five seconds
	}
	return nil
}

// failed implements wire.
func (s *Stream) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.slow(s.client)
	}
	s.cut()
}

func (s *Stream) leave() { _ = s.Finish(s.goodbye) }

func (s *Stream) cut() { s.close(s.net.Reset) }

// close ends the connection, once.
func (s *Stream) close(how func() error) {
	if !s.over.CompareAndSwap(false, true) {
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

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/epoll"
)

// Opcodes of frames (RFC 6455 §5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// held are connections that wait. If they are WebSockets, one goroutine reads from all of them
// and responds to pings: a connection has no goroutine and no buffer.
type held struct {
	request request
	first   int        // number of the first connection, from which its address follows
	set     *epoll.Set // nil if the connections are not WebSockets
	reading sync.WaitGroup
	buf     []byte // of the goroutine that reads

	mu       sync.Mutex
	conns    []*conn
	watches  uint64 // number of calls of Watch, so that each has another id
	pings    int    // number of pings that were responded to
	err      error  // first error of a connection
	expected *expected
}

// conn is a connection that waits.
type conn struct {
	net.Conn

	rest []byte // the first part of a frame whose other part has not arrived
}

// expected is a message that all connections will receive.
type expected struct {
	text []byte
	at   []time.Time   // when each connection had it
	over chan struct{} // closed when all have it, or a connection is lost
}

// begin starts the goroutine that reads.
func (h *held) begin() (err error) {
	if h.set, err = epoll.Open(); err != nil {
		return err
	}
	h.buf = make([]byte, 64<<10)
	h.reading.Go(func() { // ends with close
		h.fail(h.set.Run(h.readAll))
	})
	return nil
}

// close closes all connections.
func (h *held) close() {
	if h.set != nil {
		_ = h.set.Close() // Run ends in any case
		h.reading.Wait()
	}
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// add adds a connection, even if opening it failed with err, and returns the error.
func (h *held) add(c *conn, err error) error {
	h.mu.Lock()
	i := len(h.conns)
	h.conns = append(h.conns, c)
	h.mu.Unlock()
	if err != nil || h.set == nil {
		return err
	}
	if err := h.handle(c, nil); err != nil { // what arrived with the handshake
		return err
	}
	return h.watch(c, i)
}

// watch waits for bytes from connection i.
func (h *held) watch(c *conn, i int) (err error) {
	h.mu.Lock()
	h.watches++
	id := h.watches<<32 | uint64(i)
	h.mu.Unlock()
	failed := c.control(func(fd int) { err = h.set.Watch(fd, epoll.Readable|epoll.PeerClosed, id) })
	if failed != nil {
		return failed
	}
	return err
}

func (c *conn) control(use func(fd int)) error {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { use(int(fd)) })
}

// readAll reads from the connections with ids.
func (h *held) readAll(ids []uint64) {
	for _, id := range ids {
		i := int(uint32(id))
		h.mu.Lock()
		c := h.conns[i]
		h.mu.Unlock()
		err := h.read(c)
		if err == nil {
			err = h.watch(c, i)
		}
		if err != nil {
			h.fail(fmt.Errorf("connection %d: %w", i+1, err))
		}
	}
}

// read reads what has arrived.
func (h *held) read(c *conn) (err error) {
	n := 0
	failed := c.control(func(fd int) {
		for {
			if n, err = unix.Read(fd, h.buf); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case failed != nil:
		return failed
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	return h.handle(c, h.buf[:n])
}

// handle handles the complete frames in c.rest and received, and keeps the last part.
func (h *held) handle(c *conn, received []byte) error {
	if len(c.rest) > 0 {
		received = append(c.rest, received...)
	}
	for {
		op, payload, rest, complete := cut(received)
		if !complete {
			c.rest = bytes.Clone(rest)
			return nil
		}
		received = rest
		switch {
		case op == opClose:
			return fmt.Errorf("the server has closed the connection: %q", payload)
		case op == opPing:
			if err := h.respond(c, opPong, payload); err != nil {
				return err
			}
		case op == opText && h.request.ping != "" && string(payload) == h.request.ping:
			if err := h.respond(c, opText, []byte(h.request.pong)); err != nil {
				return err
			}
		case op == opText:
			h.text(payload)
		}
	}
}

// cut cuts the first frame off the bytes that a server sent. If it is not complete, rest is
// all of b.
func cut(b []byte) (op byte, payload, rest []byte, complete bool) {
	head, length := 2, uint64(0)
	if len(b) >= head {
		length = uint64(b[1])
		switch length {
		case 126:
			head += 2
		case 127:
			head += 8
		}
	}
	switch {
	case len(b) < head:
		return 0, nil, b, false
	case length == 126:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-head) < length {
		return 0, nil, b, false
	}
	end := head + int(length)
	return b[0] & 0x0f, b[head:end], b[end:], true
}

func (h *held) respond(c *conn, op byte, payload []byte) error {
	h.mu.Lock()
	h.pings++
	h.mu.Unlock()
	return c.send(op, payload)
}

// send sends a frame with up to 125 bytes. Its mask is 0, so the payload is sent as it is.
func (c *conn) send(op byte, payload []byte) error {
	const final, masked = 0x80, 0x80
	_, err := c.Write(append([]byte{final | op, masked | byte(len(payload)), 0, 0, 0, 0}, payload...))
	return err
}

// text handles a message.
func (h *held) text(message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.expected
	if e == nil || len(e.at) == len(h.conns) || !bytes.Contains(message, e.text) {
		return
	}
	if e.at = append(e.at, time.Now()); len(e.at) == len(h.conns) {
		close(e.over)
	}
}

// fail records the first error.
func (h *held) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || h.err != nil {
		return
	}
	h.err = err
	if e := h.expected; e != nil && len(e.at) < len(h.conns) {
		close(e.over)
		h.expected = nil
	}
}

// state returns the number of pings that were responded to, and the first error.
func (h *held) state() (pings int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pings, h.err
}

// expect must be called before a message is sent that all connections receive.
func (h *held) expect(text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected = &expected{text: []byte(text), over: make(chan struct{})}
	if len(h.conns) == 0 {
		close(h.expected.over)
	}
	return h.err
}

// arrived waits until each connection has received the expected message, and returns when
// that was.
func (h *held) arrived() ([]time.Time, error) {
	h.mu.Lock()
	e, err := h.expected, h.err
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-e.over:
	case <-late.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && len(e.at) < len(h.conns) {
		return nil, fmt.Errorf("%d of %d connections have not received the message after %v", len(h.conns)-len(e.at), len(h.conns), patience)
	}
	return e.at, h.err
}

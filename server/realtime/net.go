package realtime

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server"
)

// errIdle is the error of await if the client has sent nothing more.
var errIdle = errors.New("no frame has begun")

// errLost is the error of await if the client has closed the connection. It is the library's
// error for the same event inside a message.
var errLost = &websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}

// deadlineConn sets a new write deadline for every 64 KiB, since the WebSocket library
// sets only one for a whole message. It also records when the client last sent data, and
// buffers what a goroutine reads for a connection that can be parked.
type deadlineConn struct {
	*server.Taken
	timeout  time.Duration
	lastRead timestamp
	in       *inBytes    // nil while no goroutine reads, and if the connection is not plain
	plain    bool        // the connection is a socket without TLS, so its descriptor can be used
	handling atomic.Bool // true while a message is handled and nothing is read
	out      output
}

// inBytes is the read buffer of a connection, while a goroutine reads from it.
type inBytes struct {
	buf     [2 << 10]byte
	unread  []byte        // part of buf that was received and not yet read
	drained bool          // the last read from the socket returned all that it had
	wait    bool          // await must wait for bytes, since the connection could not be parked
	stay    time.Duration // time that await waits for bytes before it returns errIdle
	stayBy  time.Time     // read deadline for stay; zero: none
	slots   chan struct{} // see parking; nil if the goroutine has no slot
}

// inBuffers are the buffers of connections that no goroutine reads from.
var inBuffers = sync.Pool{New: func() any { return new(inBytes) }}

// beginRead prepares reading on the calling goroutine. If wait is true, await does not return
// errIdle before it has received something. endRead must be called when the goroutine stops
// reading.
func (p *deadlineConn) beginRead(slots chan struct{}, wait bool) {
	if p.plain {
		p.in = inBuffers.Get().(*inBytes)
		p.in.unread, p.in.drained, p.in.wait, p.in.slots = nil, false, wait, slots
		p.in.stay, p.in.stayBy = 0, time.Time{}
	}
}

func (p *deadlineConn) endRead() {
	if p.in != nil {
		p.releaseSlot()
		inBuffers.Put(p.in)
		p.in = nil
	}
}

// received is called for each complete message. The goroutine then waits for the next one for
// the time stay, so that a busy connection is not parked after each message.
func (p *deadlineConn) received(stay time.Duration) {
	p.releaseSlot()
	if p.in != nil {
		p.in.stay = stay
	}
}

// releaseSlot lets the next connection be woken. It is called before everything that may
// block, so that slow clients and slow handlers delay no other client.
func (p *deadlineConn) releaseSlot() {
	if p.in != nil && p.in.slots != nil {
		<-p.in.slots
		p.in.slots = nil
	}
}

// Read implements net.Conn. It waits for bytes.
func (p *deadlineConn) Read(b []byte) (int, error) {
	in := p.in
	if in == nil || len(in.unread) == 0 && len(b) >= len(in.buf) {
		return p.readSocket(b)
	}
	if len(in.unread) == 0 {
		n, err := p.readSocket(in.buf[:])
		if in.unread = in.buf[:n]; n == 0 {
			return 0, err
		}
		in.drained = n < len(in.buf)
	}
	n := copy(b, in.unread)
	in.unread = in.unread[n:]
	return n, nil
}

func (p *deadlineConn) readSocket(b []byte) (int, error) {
	p.releaseSlot()
	if p.in != nil {
		p.in.drained = false
	}
	n, err := p.Taken.Read(b)
	if n == 0 && p.in != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		// The deadline is only for the time between two messages.
		if err := p.clearStay(); err != nil {
			return 0, err
		}
		n, err = p.Taken.Read(b)
	}
	if n > 0 {
		p.lastRead.set()
	}
	return n, err
}

func (p *deadlineConn) clearStay() error {
	p.in.stayBy = time.Time{}
	return p.SetReadDeadline(time.Time{})
}

// await returns nil when bytes of a message or of a close frame can be read, and errIdle if
// the client has sent nothing more. It handles the pings and pongs before that: the library
// would continue to wait for a message after them. It is called between two messages.
func (p *deadlineConn) await(ping func(data []byte)) error {
	err := p.skipControls(ping)
	if errors.Is(err, io.EOF) {
		return errLost
	}
	return err
}

// skipControls does the work of await. At the end of the stream it returns io.EOF.
func (p *deadlineConn) skipControls(ping func(data []byte)) error {
	in := p.in
	for {
		if len(in.unread) == 0 {
			if err := p.fill(); err != nil {
				return err
			}
		}
		size, more := controlSize(in.unread)
		switch {
		case size == 0:
			return nil
		case more > 0:
			if err := p.readMore(); err != nil {
				return err
			}
			continue
		case in.unread[0] == pingFrame:
			ping(unmask(in.unread[2:size]))
		}
		in.unread = in.unread[size:]
	}
}

// fill reads what has arrived. If nothing has, it returns errIdle, or waits if in.wait is
// set.
func (p *deadlineConn) fill() error {
	in := p.in
	if in.wait {
		in.wait = false
		return p.readMore()
	}
	if in.drained && in.stay == 0 {
		return errIdle
	}
	if in.unread != nil {
		p.releaseSlot() // a client that sends pings without a pause must not delay others
	}
	n, err := p.readSoon()
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return errIdle
	case err != nil:
		return err
	}
	p.lastRead.set()
	in.unread, in.drained = in.buf[:n], n < len(in.buf)
	return nil
}

// readSoon reads what has arrived or arrives within in.stay. If nothing does, the error is
// syscall.EAGAIN.
func (p *deadlineConn) readSoon() (n int, err error) {
	in := p.in
	if in.stay == 0 {
		return p.TryRead(in.buf[:])
	}
	p.releaseSlot()
	if now := time.Now(); in.stayBy.Sub(now) < in.stay/2 { // not for each message
		in.stayBy = now.Add(in.stay)
		if err := p.SetReadDeadline(in.stayBy); err != nil {
			return 0, err
		}
	}
	n, err = p.Taken.Read(in.buf[:])
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if err := p.clearStay(); err != nil {
			return 0, err
		}
		in.stay = 0
		return 0, syscall.EAGAIN
	}
	return n, err
}

// readMore waits for more bytes and adds them to in.unread, which is empty or a part of a
// control frame.
func (p *deadlineConn) readMore() error {
	in := p.in
	have := copy(in.buf[:], in.unread)
	n, err := p.readSocket(in.buf[have:])
	in.unread, in.drained = in.buf[:have+n], have+n < len(in.buf)
	if n > 0 {
		return nil
	}
	return err
}

// First bytes of control frames that are not fragmented (RFC 6455 §5.2), and the parts of
// their header.
const (
	pingFrame  = 0x89
	pongFrame  = 0x8a
	maskBit    = 0x80
	maxControl = 125
	maskLength = 4
)

// controlSize returns the size of the ping or pong at the beginning of data, and the number
// of its bytes that data does not contain. If the frame is of another type or malformed,
// size is 0: the library reads it.
func controlSize(data []byte) (size, more int) {
	switch {
	case data[0] != pingFrame && data[0] != pongFrame:
		return 0, 0
	case len(data) < 2:
		return 2, 1
	case data[1]&maskBit == 0 || data[1]&^maskBit > maxControl:
		return 0, 0
	}
	size = 2 + maskLength + int(data[1]&^maskBit)
	return size, max(0, size-len(data))
}

// unmask returns the payload that follows a mask (RFC 6455 §5.3).
func unmask(data []byte) []byte {
	mask, masked := data[:maskLength], data[maskLength:]
	payload := make([]byte, len(masked))
	for i, b := range masked {
		payload[i] = b ^ mask[i%maskLength]
	}
	return payload
}

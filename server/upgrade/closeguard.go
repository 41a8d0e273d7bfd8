package upgrade

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
)

// CloseError is the error for a frame of the client that violates RFC 6455 or RFC 7692 in a way
// that the WebSocket library does not detect, or for which it uses the wrong close code.
// No close frame has been sent in response.
type CloseError struct {
	Code   int    // close code to send
	Reason string // close reason to send
}

func (f *CloseError) Error() string { return f.Reason }

// The payload of a close frame is empty or begins with a code of two bytes (§5.5.1), and
// the reason is UTF-8 (§8.1). The library treats a payload of one byte as empty, and
// reports a reason that is not UTF-8 with close code 1002. With compression it accepts RSV1, which
// marks a compressed message in its first frame (RFC 7692 §6), in all frames.
var (
	errShortClose  = &CloseError{websocket.CloseProtocolError, "close frame with a payload of one byte"}
	errReserved    = &CloseError{websocket.CloseProtocolError, "RSV1 in a frame that does not begin a message"}
	errCloseReason = &CloseError{websocket.CloseInvalidFramePayloadData, "reason of the close frame is not UTF-8"}
)

const (
	fin          = 0x80 // bit of the first byte: the last fragment of a message
	rsv1         = 0x40 // bit of the first byte: a compressed message
	finalClose   = 0x88 // first byte of a close frame: FIN, no reserved bits
	firstControl = 8    // lowest opcode of control frames
	masked       = 0x80
	maxControl   = 125 // maximum payload of a control frame
	maskLength   = 4
	maxFrameHead = 14
)

// closeGuard is a connection that parses the headers of the frames that the client sends.
// A Read that would return the last byte of a malformed close frame, or of the header of a frame with
// RSV1 that does not begin a message, fails.
type closeGuard struct {
	net.Conn
	head  [maxFrameHead]byte // header of the current frame
	have  int                // number of bytes of head that have been received
	left  uint64             // payload bytes of the current frame that have not been received
	close []byte             // unmasked payload of a close frame, as far as received
	err   error              // error that each further Read returns
	exact bool               // no Read goes beyond the header or payload of the current frame
	open  bool               // more fragments of the message follow
}

// Read implements net.Conn.
func (g *closeGuard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if g.exact {
		p = p[:min(uint64(len(p)), g.wanted())]
	}
	n, err := g.Conn.Read(p)
	if valid := g.scan(p[:n]); g.err != nil {
		if valid == 0 {
			return 0, g.err
		}
		return valid, nil
	}
	return n, err
}

// wanted returns the number of bytes until the end of the header or payload of the current
// frame, as far as the bytes received so far tell.
func (g *closeGuard) wanted() uint64 {
	if g.left > 0 {
		return g.left
	}
	return uint64(g.headSize() - g.have)
}

// scan parses data and returns the number of bytes that Read may return. That is all of
// data, unless scan finds a malformed frame: then it sets g.err, and the number ends before the
// last byte of that close frame or header.
func (g *closeGuard) scan(data []byte) int {
	for i := 0; i < len(data); {
		if g.left == 0 {
			g.head[g.have] = data[i]
			g.have++
			i++
			g.parseHead()
			if g.err != nil {
				return i - 1
			}
			continue
		}
		part := data[i:][:min(uint64(len(data)-i), g.left)]
		i += len(part)
		g.left -= uint64(len(part))
		if g.isClose() {
			g.unmask(part)
			if g.left == 0 && g.checkClose() {
				return i - 1
			}
		}
		if g.left == 0 {
			g.have = 0
		}
	}
	return len(data)
}

// parseHead parses the header of a frame if it has been received completely.
func (g *closeGuard) parseHead() {
	if g.have < g.headSize() {
		return
	}
	opcode := g.head[0] & 0x0f
	if g.head[0]&rsv1 != 0 && (opcode == 0 || opcode >= firstControl) {
		g.err = errReserved
		return
	}
	if opcode < firstControl {
		g.open = g.head[0]&fin == 0
	}
	length := uint64(g.head[1] &^ masked)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(g.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(g.head[2:])
	}
	if g.left = length; length == 0 {
		g.have = 0
	}
}

// headSize returns the size of the header of the current frame, as far as known: 2 until two
// bytes of it have been received.
func (g *closeGuard) headSize() int {
	size := 2
	if g.have < size {
		return size
	}
	switch g.head[1] &^ masked {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if g.head[1]&masked != 0 {
		size += maskLength
	}
	return size
}

// BetweenMessages reports whether ws, which Accept has returned, has read exactly the frames
// of complete messages. It is always false without Options.Exact. Only the goroutine that
// reads from ws may call it.
func BetweenMessages(ws *websocket.Conn) bool {
	g, ok := ws.NetConn().(*closeGuard)
	return ok && g.exact && g.have == 0 && g.left == 0 && !g.open && g.err == nil
}

// isClose reports whether the current frame is a close frame with a valid header. The
// library detects errors in the header itself.
func (g *closeGuard) isClose() bool {
	return g.head[0] == finalClose && g.head[1]&masked != 0 && g.head[1]&^masked <= maxControl
}

func (g *closeGuard) unmask(part []byte) {
	for _, b := range part {
		g.close = append(g.close, b^g.head[2+len(g.close)%maskLength])
	}
}

// checkClose checks the payload of a close frame. If it is malformed, checkClose sets g.err
// and returns true.
func (g *closeGuard) checkClose() (bad bool) {
	switch {
	case len(g.close) == 1:
		g.err = errShortClose
	case !utf8.Valid(g.close[2:]):
		g.err = errCloseReason
	}
	return g.err != nil
}

// Fault returns the close code and reason for err, the error of reading from a WebSocket, if
// the client violated RFC 6455. ok is false for other errors, such as a lost connection.
// The library has already sent the close frame, except for a CloseError.
func Fault(err error) (code int, reason string, ok bool) {
	if fault, is := errors.AsType[*CloseError](err); is {
		return fault.Code, fault.Reason, true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, "", false
	}
	if _, ended := errors.AsType[*websocket.CloseError](err); ended {
		return 0, "", false
	}
	// The library has no type for protocol errors, but all other errors come from the
	// connection.
	if _, ofConnection := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ofConnection {
		return 0, "", false
	}
	return websocket.CloseProtocolError, err.Error(), true
}

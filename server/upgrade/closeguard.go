package upgrade

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
)

// CloseError is the error of a read whose close frame breaks RFC 6455 in a way that
// the library does not see, or reports with another code. No close frame has been
// sent for it.
type CloseError struct {
	Code   int // of the close frame to send
	Reason string
}

func (f *CloseError) Error() string { return f.Reason }

// The payload of a close frame is empty or begins with a code of two bytes (§5.5.1), and
// the reason is UTF-8 (§8.1). The library treats a payload of one byte as empty, and
// reports a reason that is not UTF-8 with close code 1002.
var (
	errShortClose  = &CloseError{websocket.CloseProtocolError, "close frame with a payload of one byte"}
	errCloseReason = &CloseError{websocket.CloseInvalidFramePayloadData, "reason of the close frame is not UTF-8"}
)

const (
	finalClose   = 0x88 // first byte of a close frame: FIN, no reserved bits
	masked       = 0x80
	maxControl   = 125 // maximum payload of a control frame
	maskLength   = 4
	maxFrameHead = 14
)

// closeGuard parses the heads of the frames that a client sends, and fails the read
// that would complete a malformed close frame.
type closeGuard struct {
	net.Conn
	head  [maxFrameHead]byte // of the current frame
	have  int                // length of head so far
	left  uint64             // rest of the payload
	close []byte             // unmasked payload of a close frame so far
	err   error
}

// Read reads for the library.
func (g *closeGuard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
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

// scan parses data and returns how much of it to pass on: all of it, or, with g.err
// set, everything before the last byte of a malformed close frame.
func (g *closeGuard) scan(data []byte) int {
	for i := 0; i < len(data); {
		if g.left == 0 {
			g.head[g.have] = data[i]
			g.have++
			i++
			g.parseHead()
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

// parseHead parses the head of a frame if it is complete.
func (g *closeGuard) parseHead() {
	if g.have < 2 {
		return
	}
	size, length := 2, uint64(g.head[1]&^masked)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if g.head[1]&masked != 0 {
		size += maskLength
	}
	if g.have < size {
		return
	}
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

// isClose reports whether the current frame is a close frame whose payload the library
// will parse. The library detects all other errors in its head.
func (g *closeGuard) isClose() bool {
	return g.head[0] == finalClose && g.head[1]&masked != 0 && g.head[1]&^masked <= maxControl
}

func (g *closeGuard) unmask(part []byte) {
	for _, b := range part {
		g.close = append(g.close, b^g.head[2+len(g.close)%maskLength])
	}
}

// checkClose checks the payload of a close frame, and sets g.err if it is malformed.
func (g *closeGuard) checkClose() (bad bool) {
	switch {
	case len(g.close) == 1:
		g.err = errShortClose
	case !utf8.Valid(g.close[2:]):
		g.err = errCloseReason
	}
	return g.err != nil
}

// Fault returns the close code and reason for frames that violate RFC 6455. ok is
// false for other errors, such as a lost connection. If the library detected the
// error, it has already sent the close frame.
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

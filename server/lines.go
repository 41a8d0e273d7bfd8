package server

import (
	"bytes"
	"errors"
)

// errLineEnd is what reading a head fails with that can never become a sound one:
// its lines do not end in CRLF (RFC 9112 §2.2).
var errLineEnd = errors.New("a line does not end in CRLF")

// headLines follows the line ends of the heads on a connection as they come. fasthttp
// finds the end of a head only by CRLF CRLF. For one that ends in bare LFs, or that
// has bare CRs alone, it would wait for more until a timeout. It accepts a bare LF
// behind the request line, as RFC 9112 §2.2 allows; readFrame refuses those in fields
// of heads that do end in CRLF CRLF.
//
// What follows the end of a head is taken for the next one. If it is a body, reset
// must be called when that is known, before the next head is read.
type headLines struct {
	begun      bool // the request line has come
	bareLF     bool // the last line, a field, ended in a bare LF
	lineLength int  // bytes of the current line so far
	endsInCR   bool // the last of them is a CR
	malformed  bool // no sound head can come of this
}

func (l *headLines) reset() { *l = headLines{} }

// note takes what has come.
func (l *headLines) add(data []byte) {
	if bytes.HasSuffix(data, []byte("\r\n\r\n")) { // nearly always: fasthttp waits for no more
		l.reset()
		return
	}
	for !l.malformed && len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			l.addPartial(line)
			return
		}
		l.addLine(line)
		data = rest
	}
}

// line takes the rest of a line, without its LF.
func (l *headLines) addLine(rest []byte) {
	size, cr := l.lineLength+len(rest), l.endsInCR
	if len(rest) > 0 {
		cr = rest[len(rest)-1] == '\r'
	}
	l.lineLength, l.endsInCR = 0, false
	switch empty := size == 0 || size == 1 && cr; {
	case empty && !l.begun: // before the request line (RFC 9112 §2.2)
	case empty:
		l.begun, l.malformed = false, l.bareLF || !cr
	case l.begun:
		l.bareLF = !cr
	default:
		l.begun, l.bareLF = true, false
	}
}

// partial takes a piece of a line whose end has not come.
func (l *headLines) addPartial(piece []byte) {
	inside := bytes.IndexByte(piece, '\r')
	l.malformed = l.endsInCR || inside >= 0 && inside < len(piece)-1
	l.lineLength += len(piece)
	l.endsInCR = inside == len(piece)-1
}

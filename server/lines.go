package server

import (
	"bytes"
	"errors"
)

// errLineEnd is the error of a head whose lines do not end in CRLF (RFC 9112 §2.2).
var errLineEnd = errors.New("a line does not end in CRLF")

// headLines checks the line ends of the heads on a connection as they arrive. fasthttp
// finds the end of a head only by CRLF CRLF, so for a head with bare LFs or bare CRs
// it would wait until a timeout. headLines accepts a bare LF after the request line,
// as RFC 9112 §2.2 allows. readFrame refuses bare LFs in the fields of heads that do
// end in CRLF CRLF.
//
// headLines treats the bytes after a head as the next head. If they are a body, the caller
// must call reset before the next head is read.
type headLines struct {
	begun      bool // the request line was read
	bareLF     bool // the last field ended in a bare LF
	lineLength int  // length of the current line so far
	endsInCR   bool // the current line so far ends in CR
	malformed  bool // the head can no longer become valid
}

func (l *headLines) reset() { *l = headLines{} }

// add checks the next bytes of the connection.
func (l *headLines) add(data []byte) {
	if bytes.HasSuffix(data, []byte("\r\n\r\n")) { // fast path: fasthttp needs no more bytes
		l.reset()
		return
	}
	for !l.malformed && len(data) > 0 {
		line, rest, complete := bytes.Cut(data, []byte("\n"))
		if !complete {
			l.addPartial(line)
			return
		}
		l.addLine(line)
		data = rest
	}
}

// addLine checks the last part of a line, without its LF.
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

// addPartial checks a part of a line whose LF has not arrived.
func (l *headLines) addPartial(piece []byte) {
	inside := bytes.IndexByte(piece, '\r')
	l.malformed = l.endsInCR || inside >= 0 && inside < len(piece)-1
	l.lineLength += len(piece)
	l.endsInCR = inside == len(piece)-1
}

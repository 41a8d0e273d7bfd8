package server

import (
	"errors"
	"io"
	"sync"
)

// errIncomplete is the error of a body stream whose handler panicked. It makes fasthttp
// close the connection.
var errIncomplete = errors.New("handler ended before its response")

// stream passes a body from a handler to the goroutine of the connection, piece by
// piece and without a buffer: the handler waits until a piece is written.
type stream struct {
	pieces  chan piece
	results chan error    // result of each piece; buffered, so the connection never blocks on it
	closed  chan struct{} // closed when the connection accepts no more pieces
	once    sync.Once     // closes closed
	failure error         // error that ends an incomplete body; set before pieces is closed

	// Only the goroutine of the connection uses these fields.
	current []byte // rest of the piece that read has returned in part
	pending bool   // the handler waits for the result of the current piece
	failed  bool   // a write to the client failed
}

// piece is a part of a body.
type piece struct {
	data  []byte
	flush bool // the piece must be sent at once
}

func newStream() stream {
	return stream{pieces: make(chan piece), results: make(chan error, 1), closed: make(chan struct{})}
}

// send passes data to the connection, waits for the write, and returns its error.
func (s *stream) send(data []byte, flush bool) error {
	select {
	case s.pieces <- piece{data, flush}:
		return <-s.results
	case <-s.closed:
		return errResponseOver
	}
}

// end must be called after the last send. If failure is not nil, the body is incomplete.
func (s *stream) end(failure error) {
	if failure != nil {
		s.failure = errIncomplete
	}
	close(s.pieces)
}

// writeTo writes the body to w until the handler ends it or a write fails. w may have
// a method Flush.
func (s *stream) writeTo(w io.Writer) (written int64, err error) {
	flusher, _ := w.(interface{ Flush() error })
	for p := range s.pieces {
		if len(p.data) > 0 { // an empty chunk would end a chunked body
			var n int
			n, err = w.Write(p.data)
			written += int64(n)
		}
		if err == nil && p.flush && flusher != nil {
			err = flusher.Flush()
		}
		s.results <- err
		if err != nil {
			s.failed = true
			return written, err
		}
	}
	return written, s.failure
}

// read returns the next part of the body. Middleware calls it if it reads the body itself;
// otherwise fasthttp calls writeTo. A piece counts as written when all of it was read.
func (s *stream) read(p []byte) (int, error) {
	for len(s.current) == 0 {
		s.settle(nil)
		next, ok := <-s.pieces
		if !ok && s.failure != nil {
			return 0, s.failure
		}
		if !ok {
			return 0, io.EOF
		}
		s.current, s.pending = next.data, true
	}
	n := copy(p, s.current)
	s.current = s.current[n:]
	return n, nil
}

// settle sends err to the handler as the result of the current piece.
func (s *stream) settle(err error) {
	if s.pending {
		s.pending, s.current = false, nil
		s.results <- err
	}
}

// close makes a send that waits for its result fail, and every later send.
func (s *stream) close() {
	s.once.Do(func() { close(s.closed) })
	s.settle(errResponseOver)
}

// exchangeBody is the body stream that fasthttp reads and closes.
type exchangeBody struct{ x *exchange }

// Read returns the next part of the body.
func (b *exchangeBody) Read(p []byte) (int, error) { return b.x.stream.read(p) }

// WriteTo writes the body, and flushes w where the handler called Flush.
func (b *exchangeBody) WriteTo(w io.Writer) (int64, error) { return b.x.stream.writeTo(w) }

// SupportsBodyWriteTo reports that fasthttp may use WriteTo (see fasthttp.BodyWriterTo).
func (b *exchangeBody) SupportsBodyWriteTo() bool { return true }

// Close ends the exchange. fasthttp calls it when the body was written, when a write
// failed, and when middleware has replaced the body.
func (b *exchangeBody) Close() error {
	b.x.closeBody()
	return nil
}

func (x *exchange) closeBody() {
	if x.stream.failed {
		x.close(ErrClientGone)
	} else {
		x.close(errResponseOver)
	}
}

// writeTail writes a body whose end is marked by closing the connection.
func (x *exchange) writeTail() {
	_, _ = x.stream.writeTo(x.conn) // the caller closes the connection, with or without an error
	x.closeBody()
}

package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// The parsers here share no code with those under test: they get the complete input at
// once and split it with regular expressions.
var (
	emptyLine   = regexp.MustCompile(`^\r?\n`)
	requestLine = regexp.MustCompile(`^([!-~]+) ([^ \x00-\x1f\x7f]+) HTTP/1\.[01]\r?\n`)
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\n-\x1f\x7f]*)\r\n")
	chunkLine   = regexp.MustCompile("^([0-9A-Fa-f]{1,15})[ \t]*(;[^\x00-\x08\n-\x1f\x7f]*)?\r\n")
	trailerLine = regexp.MustCompile("^[^\x00-\x20\x7f:][^\x00-\x20\x7f:]*:[^\x00-\x08\n-\x1f\x7f]*\r\n")
)

// strictHidden returns the number of requests for /hidden in data before the first
// malformed request.
func strictHidden(data []byte) (count int) {
	for {
		for m := emptyLine.Find(data); m != nil; m = emptyLine.Find(data) {
			data = data[len(m):]
		}
		head, rest, ok := strictHead(data)
		if !ok {
			return count
		}
		if bytes.Contains(head.target, []byte("/hidden")) {
			count++
		}
		if data, ok = head.skipBody(rest); !ok {
			return count
		}
	}
}

type strictRequest struct {
	target          []byte
	lengths, coding []string
}

func strictHead(data []byte) (r strictRequest, rest []byte, ok bool) {
	m := requestLine.FindSubmatch(data)
	if m == nil {
		return r, nil, false
	}
	r.target = m[2]
	data = data[len(m[0]):]
	if bytes.HasPrefix(data, []byte("\n")) { // fasthttp's header does not show this
		return r, data[1:], true
	}
	for !bytes.HasPrefix(data, []byte("\r\n")) {
		m := fieldLine.FindSubmatch(data)
		if m == nil {
			return r, nil, false
		}
		value := strings.Trim(string(m[2]), " \t")
		switch strings.ToLower(string(m[1])) {
		case "content-length":
			r.lengths = append(r.lengths, value)
		case "transfer-encoding":
			r.coding = append(r.coding, strings.ToLower(value))
		}
		data = data[len(m[0]):]
	}
	return r, data[2:], true
}

func (r strictRequest) skipBody(data []byte) (rest []byte, ok bool) {
	switch {
	case len(r.coding) == 1 && r.coding[0] == "chunked" && len(r.lengths) == 0:
		_, rest, ok = strictChunked(data)
		return rest, ok
	case len(r.coding) > 0 || len(r.lengths) > 1:
		return nil, false
	case len(r.lengths) == 0:
		return data, true
	}
	n, err := strconv.ParseUint(r.lengths[0], 10, 62)
	if err != nil || n > uint64(len(data)) {
		return nil, false
	}
	return data[n:], true
}

func strictChunked(data []byte) (content, rest []byte, ok bool) {
	for {
		m := chunkLine.FindSubmatch(data)
		if m == nil {
			return content, nil, false
		}
		data = data[len(m[0]):]
		size, _ := strconv.ParseInt(string(m[1]), 16, 64)
		if size == 0 {
			break
		}
		if size+2 > int64(len(data)) || !bytes.HasPrefix(data[size:], []byte("\r\n")) {
			return content, nil, false
		}
		content = append(content, data[:size]...)
		data = data[size+2:]
	}
	for m := trailerLine.Find(data); m != nil; m = trailerLine.Find(data) {
		data = data[len(m):]
	}
	rest, ok = bytes.CutPrefix(data, []byte("\r\n"))
	return content, rest, ok
}

// FuzzChunked checks that a body which the decoder accepts is complete and has the same
// content as for the strict parser, and that the bytes after it are not read.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{
		"0\r\n\r\nrest", "3\r\nabc\r\n0\r\n\r\nrest", "3 ;x=\"y\"\r\nabc\r\n00\r\nA: b\r\n\r\n",
		"3\nabc\r\n0\r\n\r\n", "0\r\nA:\n\n", "g\r\n", "3\r\nabcd\r\n", "0\r\n A: b\r\n\r\n", "f\t\r\n", "0\r\nA\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, segment uint8) {
		src := &segments{data: data, size: int(segment)}
		got, err := io.ReadAll(&chunkedReader{src: src, limit: lengthRaw})
		content, rest, ok := strictChunked(data)
		switch {
		case err == nil && !ok:
			t.Errorf("accepted %q", data)
		case err == nil && (!bytes.Equal(got, content) || !bytes.Equal(src.data, rest)):
			t.Errorf("read %q, left %q; want %q, %q", got, src.data, content, rest)
		case err != nil && ok && len(data) < maxTrailers: // no limit is in question
			t.Errorf("refused %q: %v", data, err)
		}
	})
}

// segments returns data in pieces of size bytes; 0 means the size of the reads.
type segments struct {
	data []byte
	size int
}

func (s *segments) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	if s.size > 0 {
		p = p[:min(len(p), s.size)]
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// fuzzConn is a client that sends its data and then closes.
type fuzzConn struct {
	segments
	closed chan struct{}
}

func (c *fuzzConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *fuzzConn) Close() error                     { close(c.closed); return nil }
func (c *fuzzConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *fuzzConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *fuzzConn) SetDeadline(time.Time) error      { return nil }
func (c *fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fuzzConn) SetWriteDeadline(time.Time) error { return nil }

// fuzzListener accepts the connections that are sent to its channel.
type fuzzListener chan net.Conn

func (l fuzzListener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l fuzzListener) Close() error   { close(l); return nil }
func (l fuzzListener) Addr() net.Addr { return &net.TCPAddr{} }

func fuzzRoutes(hidden *atomic.Int64) []Route {
	run := func(*fasthttp.RequestCtx) error { hidden.Add(1); return nil }
	part := func(ctx *fasthttp.RequestCtx) error {
		_, err := io.ReadFull(Body(ctx), make([]byte, 3))
		return err
	}
	all := func(ctx *fasthttp.RequestCtx) error { _, err := ReadAll(ctx); return err }
	return []Route{
		{Method: "GET", Path: "/hidden", Handler: run},
		{Method: "POST", Path: "/hidden", Handler: run},
		{Method: "GET", Path: "/", Handler: all},
		{Method: "POST", Path: "/ignore", Handler: func(*fasthttp.RequestCtx) error { return nil }},
		{Method: "POST", Path: "/part", MaxBody: -1, Handler: part},
		{Method: "POST", Path: "/read", MaxBody: 64, Handler: all},
		{Method: "POST", Path: "/panic", Handler: func(*fasthttp.RequestCtx) error { panic("fuzz") }},
	}
}

// FuzzGuard sends arbitrary bytes and a hidden request after them. The hidden request
// must not run more often than a strict parser of the same bytes finds it.
func FuzzGuard(f *testing.F) {
	const marker = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 33\r\n\r\n",
		"POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nabc",
		"POST /part HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n" + marker + "\r\n0\r\n\r\n",
		"POST /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
		"POST /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n",
		"POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /panic HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
		"POST /none HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
		"POST /read HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
		"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n Content-Length: 33\r\n\r\n",
		"GET / HTTP/1.1\nHost: h\r\n\r\n", "GET / HTTP/1.0\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(7))
	}
	var hidden atomic.Int64
	srv, err := New(Options{}, fuzzRoutes(&hidden))
	if err != nil {
		f.Fatal(err)
	}
	ln := make(fuzzListener)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, ln) }()
	f.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, segment uint8) {
		data = append(bytes.Clone(data), marker...)
		before := hidden.Load()
		c := &fuzzConn{segments{data, int(segment)}, make(chan struct{})}
		ln <- c
		<-c.closed
		if got, most := hidden.Load()-before, strictHidden(data); got > int64(most) {
			t.Errorf("%d hidden requests were run, there are %d, in %q", got, most, data)
		}
	})
}

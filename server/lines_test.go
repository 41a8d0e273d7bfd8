package server_test

import (
	"testing"

	"github.com/galeserver/gale/server"
)

// A head whose lines end in bare LFs or CRs is refused at once, even if the client neither
// sends more nor closes the connection.
func TestLineEnds(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	const body = "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 7\r\n\r\na\n\r\rb\n\n"
	for _, row := range []struct {
		name, raw string
		statuses  []int
	}{
		{"bare LFs", "GET / HTTP/1.1\nHost: test\n\n", []int{400}},
		{"bare LFs without fields", "GET / HTTP/1.0\n\n", []int{400}},
		{"bare LF after the request line", "GET / HTTP/1.1\nHost: test\r\n\r\n", []int{200}},
		{"bare LF after the request line, no fields", "GET / HTTP/1.0\n\r\n", []int{200}},
		{"bare LF after a field", "GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n", []int{400}},
		{"bare LF after the last field", "GET / HTTP/1.1\r\nHost: test\n\r\n", []int{400}},
		{"bare LF at the end", "GET / HTTP/1.1\r\nHost: test\r\n\n", []int{400}},
		{"bare LF at the end, no fields", "GET / HTTP/1.0\r\n\n", []int{400}},
		{"bare LF at the end and a body", "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\nabc", []int{400}},
		{"empty lines before", "\n\r\n\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", []int{200}},
		{"empty lines before bare LFs", "\n\r\n\nGET / HTTP/1.1\nHost: test\n\n", []int{400}},
		{"bare CRs", "GET / HTTP/1.1\rHost: test\r\r", []int{400}},
		{"bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: test\r\n\r\n", []int{400}},
		{"bare CR in a field", "GET / HTTP/1.1\r\nHost: test\r\nX: a\rb", []int{400}},
		{"bare LFs after a request", get("/") + "GET / HTTP/1.1\nHost: test\n\n", []int{200, 400}},
		{"bare LFs after two requests", get("/") + get("/") + "GET / HTTP/1.1\r\nHost: test\n\n", []int{200, 200, 400}},
		{"all of these in a body", body + get("/"), []int{200, 200}},
		{"a body that is all LFs", post("/read", "\n\n\n\n") + get("/"), []int{200, 200}},
		{"a body in chunks that looks like a bad head", postChunked("/read", "GET / HTTP/1.1\nHost: test\n\n", "a\rb") + get("/"), []int{200, 200}},
		{"bare LF after the size of a chunk", "POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", []int{400}},
		{"bare LF after a chunk", "POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", []int{400}},
		{"bare LF after the last chunk", "POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n", []int{400}},
		{"bare LF after a trailer", "POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", []int{400}},
	} {
		for _, piece := range []int{len(row.raw), 1, 7} {
			c := dial(t, s)
			for raw := row.raw; raw != ""; {
				n := min(piece, len(raw))
				c.send(raw[:n])
				raw = raw[n:]
			}
			for i, want := range row.statuses {
				if got := c.response(); got.status != want || want == 400 && !got.close {
					t.Errorf("%s, by %d: response %d is %+v, want %d", row.name, piece, i, got, want)
				}
			}
		}
	}
}

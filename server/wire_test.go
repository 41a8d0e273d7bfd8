package server_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/server"
)

// TestWire checks the responses to all kinds of heads. After each of them the test sends
// a second request on the same connection. The second one must get a response only if the
// end of the first one is unambiguous.
func TestWire(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	const (
		line = "GET / HTTP/1.1\r\n"
		host = "Host: test\r\n"
		up   = "POST /read HTTP/1.1\r\nHost: test\r\n"
		te   = "Transfer-Encoding: chunked\r\n"
	)
	for _, row := range []struct{ name, raw, want string }{
		{"get", line + host + "\r\n", "200 200"},
		{"get on HTTP/1.0 ends the connection", "GET / HTTP/1.0\r\n\r\n", "200"},
		{"get on HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 200"},
		{"empty lines before", "\r\n\r\n" + line + host + "\r\n", "200 200"},
		{"close is close in any spelling", line + host + "Connection: x, Close\r\n\r\n", "200"},
		{"absolute form", "GET http://other/ HTTP/1.1\r\nHost: test\r\n\r\n", "200 200"},
		{"a body on GET", line + host + "Content-Length: 3\r\n\r\nabc", "200 200"},
		{"content-length", up + "Content-Length: 3\r\n\r\nabc", "200 200"},
		{"content-length 0", up + "Content-Length: 0\r\n\r\n", "200 200"},
		{"no content-length", up + "\r\n", "200 200"},
		{"chunked", up + te + "\r\n3\r\nabc\r\n0\r\n\r\n", "200 200"},
		{"chunked in any spelling", up + "transfer-encoding:\tCHUNKED \r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 200"},
		{"chunked with extensions and trailers", up + te + "\r\n3;a=b;c=\"d;e\"\r\nabc\r\n0 ;x\r\nX-Sum: 1\r\nY:2\r\n\r\n", "200 200"},
		{"padded chunk size", up + te + "\r\n3  \r\nabc\r\n0\t\r\n\r\n", "200 200"},

		{"expect in two lines", up + "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 3\r\n\r\nabc", "100 200 200"},
		{"connection in two lines, one of them close", line + host + "Connection: close\r\nConnection: keep-alive\r\n\r\n", "200"},
		{"connection in two lines, the other way round", line + host + "Connection: keep-alive\r\nConnection: x, close\r\n\r\n", "200"},
		{"authorization twice", line + host + "Authorization: Bearer a\r\nauthorization: Bearer a\r\n\r\n", "400"},
		{"origin twice", line + host + "Origin: http://test\r\nOrigin: http://evil\r\n\r\n", "400"},
		{"content-type twice", up + "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc", "400"},

		{"no host", line + "\r\n", "400"},
		{"two hosts", line + host + host + "\r\n", "400"},
		{"nonsense", "hello\r\n\r\n", "400"},
		{"HTTP/9.9", "GET / HTTP/9.9\r\nHost: test\r\n\r\n", "505"},
		{"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
		{"HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", "505"},
		{"transfer-encoding and content-length", up + te + "Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "400"},
		{"content-length and transfer-encoding", up + "Content-Length: 3\r\n" + te + "\r\n3\r\nabc\r\n0\r\n\r\n", "400"},
		{"differing content-lengths", up + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400"},
		{"equal content-lengths", up + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400"},
		{"list of content-lengths", up + "Content-Length: 3, 3\r\n\r\nabc", "400"},
		{"signed content-length", up + "Content-Length: +3\r\n\r\nabc", "400"},
		{"negative content-length", up + "Content-Length: -3\r\n\r\nabc", "400"},
		{"empty content-length", up + "Content-Length:\r\n\r\nabc", "400"},
		{"hexadecimal content-length", up + "Content-Length: 0x3\r\n\r\nabc", "400"},
		{"content-length over all numbers", up + "Content-Length: 99999999999999999999\r\n\r\nabc", "400"},
		{"content-length that stands for raw", "PUT /read HTTP/1.1\r\nHost: test\r\nContent-Length: 9223372036854775807\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "413"},
		{"transfer-encoding gzip", up + "Transfer-Encoding: gzip\r\n\r\n", "501"},
		{"transfer-encoding gzip, chunked", up + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
		{"transfer-encoding chunked, identity", up + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "501"},
		{"transfer-encoding identity", line + host + "Transfer-Encoding: identity\r\n\r\n", "501"},
		{"transfer-encoding xchunked", up + "Transfer-Encoding: xchunked\r\n\r\n", "501"},
		{"transfer-encoding twice", up + te + te + "\r\n0\r\n\r\n", "501"},
		{"transfer-encoding in HTTP/1.0", "POST /read HTTP/1.0\r\n" + te + "\r\n0\r\n\r\n", "501"},
		{"empty transfer-encoding", up + "Transfer-Encoding:\r\n\r\n", "501"},
		{"space before the colon", up + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"},
		{"space in a field name", up + "X Content-Length: 3\r\n\r\n", "400"},
		{"control in a field name", up + "Transfer-Encoding\x0b: chunked\r\n\r\n", "400"},
		{"control in a value", up + "Transfer-Encoding: \x0bchunked\r\n\r\n", "400"},
		{"NUL in a value", line + host + "X: a\x00b\r\n\r\n", "400"},
		{"bare CR in a value", line + host + "X: a\rTransfer-Encoding: chunked\r\n\r\n", "400"},
		{"bare LF", line + "Host: test\nX: y\r\n\r\n", "400"},
		{"bare LF at the end", line + "Host: test\n\n" + getHidden, "400"},
		{"folded line", line + host + "X: a\r\n Transfer-Encoding: chunked\r\n\r\n", "400"},
		{"line folded by a tab", line + host + "X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", "400"},
		{"folded transfer-encoding", up + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"},
		{"space before the first field", line + " Host: test\r\n\r\n", "400"},
		{"head too large", line + host + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", "431"},
		{"malformed chunk size", up + te + "\r\nxyz\r\nabc\r\n0\r\n\r\n", "400"},
		{"body over the limit", up + "Content-Length: 2000000\r\n\r\n" + getHidden, "413"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := talk(t, s, row.raw+get("/"))
			if statuses(got) != row.want {
				t.Fatalf("got %q, want %q", statuses(got), row.want)
			}
			if last := got[len(got)-1]; !strings.Contains(row.want, " ") && !last.close {
				t.Error("the last response has no Connection: close")
			}
		})
	}
	if n := s.hidden.Load(); n != 0 {
		t.Errorf("a hidden request was run %d times", n)
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	for _, row := range []struct {
		method, target string
		status         int
		body, allow    string
	}{
		{"GET", "/", 200, "hello", ""},
		{"GET", "/?a=b://c", 200, "hello", ""},
		{"HEAD", "/", 200, "", ""},
		{"OPTIONS", "/", 204, "", "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/hidden", 204, "", "GET, HEAD, OPTIONS, POST"},
		{"OPTIONS", "*", 204, "", "GET, HEAD, OPTIONS, POST, PUT"},
		{"OPTIONS", "/none", 404, `{"code":404,"reason":"not found"}`, ""},
		{"DELETE", "/hidden", 405, `{"code":405,"reason":"method not allowed"}`, "GET, HEAD, OPTIONS, POST"},
		{"BREW", "/read", 405, `{"code":405,"reason":"method not allowed"}`, "OPTIONS, POST, PUT"},
		{"GET", "/none", 404, `{"code":404,"reason":"not found"}`, ""},
		{"CONNECT", "test:80", 404, `{"code":404,"reason":"not found"}`, ""},
		{"GET", "/items/a/b/c", 200, "a|b/c", ""},
		{"GET", "/items/a%20b/c%2Bd", 200, "a b|c+d", ""},
		{"GET", "/items/a%2Fb/c", 200, "a/b|c", ""},

		// None of these paths leads to /hidden or to a redirect.
		{"GET", "/hidden/", 404, "", ""},
		{"GET", "/HIDDEN", 404, "", ""},
		{"GET", "//hidden", 404, "", ""},
		{"GET", "/./hidden", 404, "", ""},
		{"GET", "/x/../hidden", 404, "", ""},
		{"GET", "/x/%2e%2e/hidden", 404, "", ""},
		{"GET", "/x%2f..%2fhidden", 404, "", ""},
		{"GET", "/%68idden", 404, "", ""},
		{"GET", "/hidden%00", 404, "", ""},
		{"GET", "/items/a/%2e%2e/b", 404, "", ""},
		{"GET", "/items/a/..%2fb", 404, "", ""},
		{"GET", "/items//b", 404, "", ""},
		{"GET", "/items/a%00/b", 404, "", ""},
		{"GET", "/items/a%zz/b", 404, "", ""},
		{"GET", "/items/a%/b", 404, "", ""},
		{"GET", "/hidden#/", 404, "", ""},
		{"GET", "http://test//hidden", 404, "", ""},
		{"GET", "http://test", 200, "hello", ""},
		{"GET", "http://test?/hidden", 200, "hello", ""},
	} {
		t.Run(row.method+" "+row.target, func(t *testing.T) {
			c := dial(t, s)
			c.send(row.method + " " + row.target + " HTTP/1.1\r\nHost: test\r\n\r\n" + get("/"))
			c.endSending()
			var got response
			if row.method == "HEAD" {
				got = c.headResponse()
			} else {
				got = c.response()
			}
			if got.status != row.status || row.body != "" && got.body != row.body || got.header.Get("Allow") != row.allow {
				t.Errorf("got %+v", got)
			}
			if got.header.Get("Location") != "" || got.header.Get("Server") != "gale" {
				t.Errorf("header %v", got.header)
			}
			if second := c.response(); second.body != "hello" {
				t.Errorf("second response %+v", second)
			}
		})
	}
	if n := s.hidden.Load(); n != 0 {
		t.Errorf("a hidden request was run %d times", n)
	}
	t.Run("HTTP/1.0 without Host", func(t *testing.T) {
		if got := talk(t, s, "GET //test/hidden HTTP/1.0\r\n\r\n"); statuses(got) != "404" {
			t.Errorf("got %v", got)
		}
	})
}

func TestNewReportsEveryBadRoute(t *testing.T) {
	t.Parallel()
	handler := newSite().routes()[0].Handler
	_, err := server.New(server.Options{Errors: []server.ErrorStatus{{Status: 200}}}, []server.Route{
		{Method: "GET", Path: "/ok", Handler: handler},
		{Method: "GET", Path: "/ok", Handler: handler},
		{Method: "GET", Path: "/a/{x}", Handler: handler},
		{Method: "GET", Path: "/a/{y}", Handler: handler},
		{Method: "GET", Path: "relative", Handler: handler},
		{Method: "GET", Path: "/a//b", Handler: handler},
		{Method: "get", Path: "/lower", Handler: handler},
		{Method: "*", Path: "/any", Handler: handler},
		{Method: "GET", Path: "/nil"},
		{Method: "GET", Path: "/{", Handler: handler},
		{Method: "GET", Path: "/{x:(}", Handler: handler},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"/ok"`, `"/a/{y}"`, `"relative"`, `"/a//b"`, `"/lower"`, `"/any"`, `"/nil"`, `"/{"`, `"/{x:(}"`, "error row 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in:\n%v", want, err)
		}
	}
}

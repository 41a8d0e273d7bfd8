package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/server"
)

// The client gets each event before the handler continues. The stream ends when the
// client closes the connection.
func TestHTTPEventStream(t *testing.T) {
	t.Parallel()
	next, causes := make(chan string), make(chan error, 1)
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case text := <-next:
				fmt.Fprintf(w, "data: %s\n\n", text)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				causes <- context.Cause(r.Context())
				return
			}
		}
	})...)
	c := dial(t, s)
	c.send(get("/m/"))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%+v, %v", resp, err)
	}
	events := bufio.NewReader(resp.Body)
	for n := range 3 {
		next <- strconv.Itoa(n)
		if line, err := events.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", n) {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := <-causes; !errors.Is(err, server.ErrClientGone) {
		t.Errorf("cause %v", err)
	}
}

// Flush works as well when the length of the body is known.
func TestHTTPFlushOfKnownLength(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		for _, text := range []string{"abc", "def"} {
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
			<-read
		}
	})...)
	c := dial(t, s)
	c.send(get("/m/") + get("/"))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.ContentLength != 6 {
		t.Fatalf("%+v, %v", resp, err)
	}
	for _, want := range []string{"abc", "def"} {
		got := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
		read <- struct{}{}
	}
	if got := c.response(); got.body != "hello" {
		t.Errorf("next request: %+v", got)
	}
}

// An event stream ends when Run begins to drain; another response may go on until
// Options.Grace is over.
func TestHTTPWhileDraining(t *testing.T) {
	t.Parallel()
	causes := map[string]chan error{"events": make(chan error, 1), "wait": make(chan error, 1)}
	s := newSite()
	inside := make(chan struct{}, 2)
	srv, err := server.New(server.Options{Grace: 300 * time.Millisecond}, mounted(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("path")
		if name == "events" {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			w.(http.Flusher).Flush()
		}
		inside <- struct{}{}
		<-r.Context().Done()
		causes[name] <- context.Cause(r.Context())
	}))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() { s.done <- srv.Run(ctx, ln) }()
	clients := []*client{dial(t, s), dial(t, s)}
	clients[0].send(get("/m/events"))
	clients[1].send(get("/m/wait"))
	<-inside
	<-inside
	leave()
	if err := <-causes["events"]; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("event stream: cause %v", err)
	}
	if got := clients[0].response(); got.status != 200 {
		t.Errorf("event stream: %+v", got)
	}
	if err := <-causes["wait"]; !errors.Is(err, server.ErrGrace) {
		t.Errorf("other response: cause %v", err)
	}
	if err := <-s.done; !errors.Is(err, server.ErrGrace) {
		t.Errorf("Run: %v", err)
	}
}

// A client that reads slowly gets all of a long response, and one that reads nothing
// stops the handler long before memory fills.
func TestHTTPBackpressure(t *testing.T) {
	t.Parallel()
	const size = 512 << 20
	written, failed := make(chan int64, 1), make(chan error, 1)
	s := open(t, server.Options{WriteTimeout: time.Second}, mounted(func(w http.ResponseWriter, r *http.Request) {
		var n int64
		for limit, _ := strconv.ParseInt(r.PathValue("path"), 10, 64); n < limit; {
			m, err := io.WriteString(w, strings.Repeat("0123456789abcdef", 2048))
			n += int64(m)
			if err != nil {
				written <- n
				<-r.Context().Done()
				failed <- context.Cause(r.Context())
				return
			}
		}
	})...)
	slow := dial(t, s)
	slow.send(get("/m/" + strconv.Itoa(4<<20)))
	resp, err := http.ReadResponse(slow.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for buffer := make([]byte, 5000); ; runtime.Gosched() {
		n, err := resp.Body.Read(buffer)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if total != 4<<20 {
		t.Errorf("slow client: %d bytes", total)
	}

	idle := dial(t, s)
	idle.send(get("/m/" + strconv.Itoa(size)))
	if n := <-written; n > size/4 {
		t.Errorf("the handler wrote %d bytes to a client that reads nothing", n)
	}
	if err := <-failed; !errors.Is(err, server.ErrClientGone) {
		t.Errorf("cause %v", err)
	}
}

// The body of a request streams: a large upload needs no more memory than a small one.
// This test is not parallel, since it looks at the allocations of the whole process.
func TestHTTPUpload(t *testing.T) {
	const size = 64 << 20
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	want := fmt.Sprint(int64(size), error(nil))
	if _, body := do(t, "POST", "http://"+s.addr+"/m/", io.LimitReader(zeros{}, size)); body != want {
		t.Errorf("chunked: response %q", body)
	}
	c := dial(t, s)
	c.send("POST /m/ HTTP/1.1\r\nHost: test\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n")
	if _, err := io.CopyBuffer(c.Conn, struct{ io.Reader }{io.LimitReader(zeros{}, size)}, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if got := c.response(); got.body != want {
		t.Errorf("known length: %+v", got)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size/4 {
		t.Errorf("%d bytes were allocated for an upload of %d", n, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestHTTPBodyErrors(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	h := server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("how") {
		case "early":
			w.(http.Flusher).Flush()
		case "closed":
			_ = r.Body.Close()
		}
		_, err := io.Copy(io.Discard, r.Body)
		errs <- err
	}))
	s := open(t, server.Options{}, server.Route{Method: "POST", Path: "/b/{how}", MaxBody: 1000, Handler: h})
	for _, row := range []struct {
		name, raw string
		want      []error
	}{
		{"too large", postChunked("/b/read", strings.Repeat("x", 900), strings.Repeat("x", 900)), []error{server.ErrBodyTooLarge}},
		{"cut off", strings.TrimSuffix(post("/b/read", "1234567890"), "0"), []error{server.ErrBodyTruncated, io.ErrUnexpectedEOF}},
		{"after the response began", post("/b/early", strings.Repeat("x", 900)), []error{http.ErrBodyReadAfterClose}},
		{"after Close", post("/b/closed", "12345"), []error{http.ErrBodyReadAfterClose}},
	} {
		talk(t, s, row.raw)
		err := <-errs
		for _, want := range row.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", row.name, err, want)
			}
		}
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); row.name == "too large" && (!ok || tooLarge.Limit != 1000) {
			t.Errorf("%s: %v is no http.MaxBytesError", row.name, err)
		}
	}
}

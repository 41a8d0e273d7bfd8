//go:build e2e

package torture_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

// tusTime limits the attempts to finish an upload.
const tusTime = 30 * time.Second

// tus sends a file as a resumable upload. Some requests are cut off in the middle.
func (c *client) tus() {
	name := c.name("u")
	path := "tus/" + name
	content := harness.UploadContent(c.number<<12+c.step, 1+c.rng.IntN(1<<20))
	seq := c.h.begin(op{Client: c.number, Kind: kindTusCreate, ID: path, Content: digest(content), N: int64(len(content))})
	r := c.tusSend(http.MethodPost, "/tus/", nil, "Upload-Length", strconv.Itoa(len(content)),
		"Upload-Metadata", strings.TrimPrefix(harness.TusMetadata("filename", name), "Upload-Metadata: "))
	c.h.end(seq, status(r))
	if r.status != http.StatusCreated {
		return
	}
	location, at := r.header.Get("Location"), 0
	for end := time.Now().Add(tusTime); at < len(content) && time.Now().Before(end); {
		to := min(len(content), at+1+c.rng.IntN(len(content)))
		if n := c.tusPatch(path, location, content[:to], at); n >= 0 {
			at = n
			continue
		}
		if n := c.tusOffset(path, location); n > at {
			at = n
			continue
		}
		<-time.After(100 * time.Millisecond)
	}
}

// errCut ends a body early.
var errCut = errors.New("cut")

// tusPatch sends the bytes of content from an offset on, and returns the new offset or -1.
func (c *client) tusPatch(path, location string, content []byte, at int) int {
	seq := c.h.begin(op{Client: c.number, Kind: kindTusPatch, ID: path, Sent: int64(len(content))})
	var body io.Reader = bytes.NewReader(content[at:])
	if c.rng.IntN(4) == 0 {
		cut := at + c.rng.IntN(len(content)-at)
		body = io.MultiReader(bytes.NewReader(content[at:cut]), brokenReader{})
	}
	r := c.tusRequest(http.MethodPatch, location, body, len(content)-at,
		"Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")
	return c.tusEnd(seq, r)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errCut }

// tusOffset returns the offset of an upload or -1.
func (c *client) tusOffset(path, location string) int {
	seq := c.h.begin(op{Client: c.number, Kind: kindTusOffset, ID: path})
	return c.tusEnd(seq, c.tusSend(http.MethodHead, location, nil))
}

func (c *client) tusEnd(seq int, r response) int {
	offset, err := strconv.Atoi(r.header.Get("Upload-Offset"))
	known := err == nil && (r.status == http.StatusOK || r.status == http.StatusNoContent)
	c.h.end(seq, func(o *op) {
		if o.Status = r.status; known {
			o.N = int64(offset)
		}
	})
	if !known {
		return -1
	}
	return offset
}

func (c *client) tusSend(method, path string, body []byte, header ...string) response {
	return c.tusRequest(method, path, bytes.NewReader(body), len(body), header...)
}

func (c *client) tusRequest(method, path string, body io.Reader, size int, header ...string) (r response) {
	if u, err := url.Parse(path); err == nil { // a Location names the server that created the upload
		path = u.RequestURI()
	}
	req, err := http.NewRequest(method, c.server()+path, body)
	if err != nil {
		return r
	}
	req.ContentLength = int64(size)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return r
	}
	defer resp.Body.Close()
	if r.body, err = io.ReadAll(resp.Body); err == nil {
		r.status, r.header = resp.StatusCode, resp.Header
	}
	return r
}

// subscriber follows a channel and resumes with the number of its last message.
type subscriber struct {
	number  int
	url     string // of the server
	channel string
	h       *history
	sockets bool // WebSocket instead of an event stream

	started bool
	last    int64
}

// note is an event in the form of a WebSocket.
type note struct {
	Seq   int64
	Event string
	Gap   bool
	Data  string
}

// run follows the channel until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.sockets {
			s.socket(ctx)
		} else {
			s.stream(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// take records an event.
func (s *subscriber) take(n note) {
	got := n.Data
	switch {
	case n.Gap:
		got = gotGap
	case n.Event == "subscribed":
		got = gotSubscribed
	}
	seq := s.h.begin(op{Client: s.number, Kind: kindEvent, ID: s.channel})
	s.h.end(seq, func(o *op) { o.Status, o.N, o.Got = http.StatusOK, n.Seq, got })
	s.started, s.last = true, n.Seq
}

func (s *subscriber) socket(ctx context.Context) {
	address := strings.Replace(s.url, "http", "ws", 1) + "/channels/" + s.channel
	if s.started {
		address += "?since=" + strconv.FormatInt(s.last, 10)
	}
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, address, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for {
		var n note
		if err := conn.ReadJSON(&n); err != nil {
			return
		}
		s.take(n)
	}
}

// stream reads an event stream as browsers do (WHATWG HTML §9.2).
func (s *subscriber) stream(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events/"+s.channel, nil)
	if err != nil {
		return
	}
	if s.started {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(s.last, 10))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	var n note
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "":
			if n.Data != "" {
				s.event(n)
			}
			n = note{}
		case "id":
			n.Seq, _ = strconv.ParseInt(value, 10, 64)
		case "event":
			n.Event = value
		case "data":
			n.Data += value
		}
	}
}

// event records an event of a stream. The data of events that are not messages is JSON.
func (s *subscriber) event(n note) {
	if n.Event != "" {
		var inner struct{ Gap bool }
		if err := json.Unmarshal([]byte(n.Data), &inner); err != nil {
			n.Data = fmt.Sprintf("unreadable event %s: %v", n.Event, err) // the oracle does not know it
		}
		n.Gap = inner.Gap
	}
	s.take(n)
}

package routes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// serveRoutes runs a server of routes until the test ends and returns its address.
func serveRoutes(t *testing.T, o server.Options, all []server.Route) string {
	t.Helper()
	o.Errors = Statuses
	srv, err := server.New(o, all)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	runs(t, func(ctx context.Context) error { return srv.Run(ctx, ln) })
	return ln.Addr().String()
}

// runs calls run, whose context ends with the test, and waits for it.
func runs(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// page requests a page; fields are header lines.
func page(t *testing.T, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// realtimeSite serves the routes of long-lived connections without Redis. If leaving is
// true, its hub has already ended.
func realtimeSite(t *testing.T, leaving bool) (addr string) {
	t.Helper()
	client, err := redisdb.Open("unix://"+t.TempDir()+"/nobody.sock", redisdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	channels := &channelRoutes{hub: realtime.New(realtime.Options{}), bus: realtime.NewBus(client, realtime.BusOptions{}), log: slog.New(slog.DiscardHandler)}
	if leaving {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := channels.hub.Run(over); err != nil {
			t.Fatal(err)
		}
	} else {
		runs(t, channels.hub.Run)
	}
	return serveRoutes(t, server.Options{}, channels.routes(access.New(access.Options{})))
}

// After a temporary fault, an EventSource and other clients try again. A permanent fault
// has its own status.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	for name, leaving := range map[string]bool{"Redis is away": false, "the process leaves": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := "http://" + realtimeSite(t, leaving)
			for _, path := range []string{"/events/a", "/events/a?since=17", "/events/upload:x"} {
				resp, body := page(t, url+path, "Accept: text/event-stream")
				var ms int
				_, said, _ := strings.Cut(body, "\nretry: ")
				if n, _ := fmt.Sscanf(said, "%d\n\n", &ms); n != 1 || ms < 1000 || ms >= 5000 || !strings.HasPrefix(body, ": ") || strings.Contains(body, "data") {
					t.Errorf("%s: %q", path, body)
				}
				if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
				}
			}
			for _, path := range []string{"/events/a%20b", "/events/.broadcast", "/events/a?since=x"} {
				if resp, body := page(t, url+path, "Accept: text/event-stream"); resp.StatusCode != http.StatusBadRequest {
					t.Errorf("%s: %d %s", path, resp.StatusCode, body)
				}
			}
			if resp, body := page(t, url+"/longpoll?s=0"); resp.StatusCode != http.StatusOK || body != waitingText+newsText {
				t.Errorf("long poll: %d %q", resp.StatusCode, body)
			}
			if leaving {
				resp, body := page(t, url+"/channels/a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
				if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
					t.Errorf("WebSocket: %d %s", resp.StatusCode, body)
				}
			}
		})
	}
}

// A tus client that stops sending gets a status after which it resumes at the offset and
// does not give up.
func TestResumableStalls(t *testing.T) {
	t.Parallel()
	disk := pool.New(pool.Options{})
	runs(t, disk.Run)
	store, err := uploads.Open(t.TempDir(), uploads.Options{Pool: disk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	resumable, err := tus.New(store, tus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resumable.Close() })
	noTasks, err := jobs.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	guard := access.New(access.Options{})
	addr := serveRoutes(t, server.Options{ReadTimeout: 300 * time.Millisecond}, resumableRoutes(Deps{Resumable: resumable, UploadStarter: &UploadStarter{Client: &jobs.Client{Tasks: noTasks}}, Guard: guard, UploadAdmit: guard.Write}))
	request := func(head, body string) *http.Response {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, head+" HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n"+body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		return resp
	}
	created := request("POST /tus/", "Upload-Length: 10\r\nUpload-Metadata: filename YS5iaW4=\r\nContent-Length: 0\r\n\r\n")
	if created.StatusCode != http.StatusCreated {
		t.Fatalf("create: %d", created.StatusCode)
	}
	at := created.Header.Get("Location")
	stalled := request("PATCH "+at, "Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 10\r\n\r\n01234")
	if stalled.StatusCode != http.StatusServiceUnavailable || stalled.Header.Get("Retry-After") == "" || stalled.Header.Get("Tus-Resumable") == "" {
		t.Errorf("stalled: %d %v", stalled.StatusCode, stalled.Header)
	}
	if found := request("GET "+at, "\r\n"); found.Header.Get("Upload-Offset") != "5" {
		t.Errorf("offset: %d %v", found.StatusCode, found.Header)
	}
	rest := request("PATCH "+at, "Upload-Offset: 5\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\n56789")
	if rest.StatusCode != http.StatusNoContent || rest.Header.Get("Upload-Offset") != "10" {
		t.Errorf("the rest: %d %v", rest.StatusCode, rest.Header)
	}
}

package routes

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// reloadSite serves the routes of a Reloads behind the base path /base, and a page with its
// script.
func reloadSite(t *testing.T, static string) (r *Reloads, url string) {
	t.Helper()
	hub := realtime.New(realtime.Options{})
	r = NewReloads(hub, "/p", "v1", time.UnixMilli(7), static, slog.New(slog.DiscardHandler))
	runs(t, hub.Run)
	all := append(r.routes(), server.Route{Method: "GET", Path: "/", Handler: func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, 200, r.Script(ctx))
		return nil
	}})
	return r, "http://" + serveRoutes(t, server.Options{BasePath: "/base"}, all)
}

// stream opens an event stream and returns it after its first event, whose data it returns.
func stream(t *testing.T, url string) (body *bufio.Scanner, data string, end func()) {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url + "/p/-/reload")
	if err != nil {
		t.Fatal(err)
	}
	end = func() { _ = resp.Body.Close() }
	t.Cleanup(end)
	for body = bufio.NewScanner(resp.Body); body.Scan(); {
		if data, ok := strings.CutPrefix(body.Text(), "data: "); ok {
			return body, data, end
		}
	}
	t.Fatal("the stream has no event")
	return nil, "", nil
}

// A page and its stream name the same release and files, until a file changes.
func TestReloadScript(t *testing.T) {
	t.Parallel()
	static := t.TempDir()
	_, url := reloadSite(t, static)
	resp, script := page(t, url+"/")
	_, before, _ := stream(t, url)
	files := strings.TrimSuffix(strings.TrimPrefix(before, `{"version":"v1","started":7,"files":"`), `"}`)
	if want := `<script src="/base/p/-/reload.js?files=` + files + `&amp;started=7&amp;version=v1" defer></script>`; resp.StatusCode != http.StatusOK || script != want {
		t.Errorf("%d %s, want %s", resp.StatusCode, script, want)
	}
	if resp, body := page(t, url+"/p/-/reload.js?version=x"); resp.StatusCode != http.StatusOK || body != string(reloadScript) {
		t.Errorf("script: %d %s", resp.StatusCode, body)
	}
	if err := os.WriteFile(filepath.Join(static, "a.css"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := stream(t, url); after == before {
		t.Errorf("the stream does not tell of a change that no stream saw: %s", after)
	}
	_, url = reloadSite(t, "")
	if _, data, _ := stream(t, url); !strings.Contains(data, `"files":""`) {
		t.Errorf("without static files: %s", data)
	}
}

// A changed static file is sent to all open pages. Streams that have ended are forgotten.
func TestStaticChanged(t *testing.T) {
	t.Parallel()
	r, url := reloadSite(t, "")
	first, _, _ := stream(t, url)
	second, _, end := stream(t, url)
	r.StaticChanged("a.css")
	for _, body := range []*bufio.Scanner{first, second} {
		for body.Scan() && !strings.HasPrefix(body.Text(), "event:") {
		}
		if body.Text() != "event: changed" {
			t.Errorf("event: %q", body.Text())
		}
	}
	end()
	testutil.Eventually(t, "the ended stream is forgotten", func() bool { return r.send([]byte(":\n\n")) == 1 })
}

// A process that ends makes the page connect again soon.
func TestReloadStreamDuringDrain(t *testing.T) {
	t.Parallel()
	hub := realtime.New(realtime.Options{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hub.Run(over); err != nil {
		t.Fatal(err)
	}
	r := NewReloads(hub, "", "v1", time.UnixMilli(7), "", slog.New(slog.DiscardHandler))
	url := "http://" + serveRoutes(t, server.Options{}, r.routes())
	if resp, body := page(t, url+"/-/reload"); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != server.EventStream || body != "retry: 100\n\n" {
		t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
}

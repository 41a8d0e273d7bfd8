package routes

import (
	_ "embed"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/filewatch"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/upgrade"
)

// Paths of the routes that exist with -watch only.
const (
	reloadPath       = "/-/reload"
	reloadScriptPath = "/-/reload.js"
)

// reconnectReload is the delay after which a page reconnects, in milliseconds.
const reconnectReload = 100

//go:embed reload.js
var reloadScript []byte

// Reloads tracks open pages and makes them reload in the browser (-watch).
type Reloads struct {
	hub     *realtime.Hub
	prefix  string
	version string
	started time.Time
	static  string // folder of -static, or empty
	log     *slog.Logger

	mu   sync.Mutex
	open map[*realtime.Stream]bool // streams of open pages; may contain streams that have ended
}

// NewReloads returns Reloads of this process. prefix is that of Deps. version differs
// between releases of the server, and started is the start of the process, which orders
// them. static is the folder of -static, or empty.
func NewReloads(hub *realtime.Hub, prefix, version string, started time.Time, static string, log *slog.Logger) *Reloads {
	return &Reloads{hub: hub, prefix: prefix, version: version, started: started, static: static, log: log, open: map[*realtime.Stream]bool{}}
}

// routes returns the routes. They need no token, because clients can only learn when a file
// has changed. They are not described in the OpenAPI document.
func (r *Reloads) routes() []server.Route {
	if r == nil {
		return nil
	}
	return []server.Route{
		{Method: fasthttp.MethodGet, Path: r.prefix + reloadPath, Handler: r.events},
		{Method: fasthttp.MethodGet, Path: r.prefix + reloadScriptPath, Handler: r.script},
	}
}

// Script returns the HTML that makes a page reload itself. It is an external script, which
// a Content-Security-Policy with 'self' allows.
func (r *Reloads) Script(ctx *fasthttp.RequestCtx) string {
	q := url.Values{"version": {r.version}, "started": {strconv.FormatInt(r.started.UnixMilli(), 10)}, "files": {r.files()}}
	return `<script src="` + html.EscapeString(server.Link(ctx, r.prefix+reloadScriptPath)+"?"+q.Encode()) + `" defer></script>`
}

// files returns a stamp of the present static files. If a file changes before a page has
// opened its stream, the stamps of the page and of the stream differ.
func (r *Reloads) files() string {
	if r.static == "" {
		return ""
	}
	return filewatch.Stamp(r.static)
}

// script is GET /-/reload.js.
func (*Reloads) script(ctx *fasthttp.RequestCtx) error {
	ctx.SetContentType("text/javascript; charset=utf-8")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-cache")
	ctx.Response.SetBodyRaw(reloadScript)
	return nil
}

// events is GET /-/reload: the release of this process, and an event for each change of a
// static file.
func (r *Reloads) events(ctx *fasthttp.RequestCtx) error {
	ctx.SetContentType(server.EventStream)
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no") // nginx must not buffer events
	if ctx.IsHead() {
		return nil
	}
	err := r.hub.Stream(ctx, realtime.EventStream, func(s *realtime.Stream) error {
		s.Every(keepAlive, []byte(":\n\n"))
		r.send([]byte(":\n\n")) // removes streams that have ended
		r.mu.Lock()
		r.open[s] = true // before the stamp is made, so that no change is missed
		r.mu.Unlock()
		release := fmt.Appendf(nil, "retry: %d\nevent: release\ndata: {\"version\":%q,\"started\":%d,\"files\":%q}\n\n", reconnectReload, r.version, r.started.UnixMilli(), r.files())
		return s.Send(release)
	})
	if errors.Is(err, upgrade.ErrLeaving) {
		ctx.SetBodyString(fmt.Sprintf("retry: %d\n\n", reconnectReload)) // of a process that is replaced; see server.RetryStream
		return nil
	}
	return err
}

// StaticChanged makes all open pages of this process reload.
func (r *Reloads) StaticChanged(file string) {
	if n := r.send([]byte("event: changed\ndata: 1\n\n")); n > 0 {
		r.log.Info("static file changed, reloading open pages", "file", file, "pages", n)
	}
}

// send sends an event to all open pages and returns their number.
func (r *Reloads) send(event []byte) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.open {
		if s.Send(event) != nil {
			delete(r.open, s)
		}
	}
	return len(r.open)
}

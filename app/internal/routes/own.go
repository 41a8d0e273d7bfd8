package routes

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Guarded returns the routes of an application as they are guarded: what a page of
// another origin writes, and its WebSocket handshakes, get 403; where a token is
// set, writes need it unless the route is Public. A write is every method but GET,
// HEAD, OPTIONS and TRACE, and a GET that says so.
func Guarded(d Deps, own []server.Route) []server.Route {
	guard := newAccess(d.Token, d.Origins)
	guard.https = d.HTTPS
	all := make([]server.Route, len(own))
	for i, r := range own {
		r.Admit = both(guard.own(r), r.Admit)
		all[i] = r
	}
	return all
}

// own is what a route of an application needs.
func (a access) own(r server.Route) func(*fasthttp.RequestHeader) error {
	switch {
	case writes(r) && r.Public:
		return a.page
	case writes(r):
		return withToken(a.write)
	}
	return func(h *fasthttp.RequestHeader) error {
		if len(h.Peek(fasthttp.HeaderUpgrade)) > 0 {
			return a.page(h)
		}
		return nil
	}
}

func writes(r server.Route) bool {
	switch r.Method {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace:
		return r.Writes
	}
	return true
}

// both admits what first and then second, if there is one, admit.
func both(first, second func(*fasthttp.RequestHeader) error) func(*fasthttp.RequestHeader) error {
	if second == nil {
		return first
	}
	return func(h *fasthttp.RequestHeader) error {
		if err := first(h); err != nil {
			return err
		}
		return second(h)
	}
}

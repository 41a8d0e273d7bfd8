package access

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Own returns the routes of an application as they are guarded. What a page of
// another origin writes, and its WebSocket handshakes, get 403. Where a token is set,
// writes need it, or an identity, unless the route is Public. A write is every method
// but GET, HEAD, OPTIONS and TRACE, and a GET that says so.
func (g *Guard) Protect(own []server.Route) []server.Route {
	all := make([]server.Route, len(own))
	for i, r := range own {
		r.Admit = inSequence(WithToken(g.admitOwn(r)), r.Admit)
		all[i] = r
	}
	return all
}

// own is what a route of an application needs.
func (g *Guard) admitOwn(r server.Route) func(*fasthttp.RequestHeader) (any, error) {
	writes := isWrite(r)
	return func(h *fasthttp.RequestHeader) (any, error) {
		if (writes || len(h.Peek(fasthttp.HeaderUpgrade)) > 0) && !g.isSameOrigin(h) {
			return nil, errOtherOrigin()
		}
		if g.digest == nil && g.options.Authenticate == nil {
			return nil, nil
		}
		id, err := g.identify(h)
		switch {
		case err != nil:
			return nil, err
		case id != nil && id.Cookie && !g.acceptsCookie(h):
			id = nil
		}
		if id == nil && writes && !r.Public && g.digest != nil {
			return nil, errNoToken()
		}
		if id == nil {
			return nil, nil
		}
		return id, nil
	}
}

// mayKnow reports whether an identity from a cookie counts: for pages of this
// server, and for a link that a person follows from anywhere, since no page can read
// the response (Fetch Metadata §2.2 and §2.3). Else the caller is anonymous.
func (g *Guard) acceptsCookie(h *fasthttp.RequestHeader) bool {
	return g.isSameOrigin(h) || server.List(h, "Sec-Fetch-Mode") == "navigate" && server.List(h, "Sec-Fetch-Dest") == "document"
}

func isWrite(r server.Route) bool {
	switch r.Method {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace:
		return r.Writes
	}
	return true
}

// both admits what first and then second, if there is one, admit. What second
// returns is what handlers get, unless it is nil.
func inSequence(first, second func(*fasthttp.RequestHeader) (any, error)) func(*fasthttp.RequestHeader) (any, error) {
	if second == nil {
		return first
	}
	return func(h *fasthttp.RequestHeader) (any, error) {
		id, err := first(h)
		if err != nil {
			return nil, err
		}
		if who, err := second(h); err != nil || who != nil {
			return who, err
		}
		return id, nil
	}
}

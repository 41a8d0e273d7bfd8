package access

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
)

// Protect returns the routes of an application with access control. Writes and WebSocket
// handshakes from pages of other origins get a 403 response. If a token is set, writes
// need the token or an identity, unless the route is Public. Writes are requests with a
// method other than GET, HEAD, OPTIONS and TRACE, and those to routes with Writes.
func (g *Guard) Protect(own []server.Route) []server.Route {
	all := make([]server.Route, len(own))
	for i, r := range own {
		r.Admit = inSequence(g.admitOwn(r), r.Admit)
		all[i] = r
	}
	return all
}

// admitOwn returns the Admit function for a route of an application. It accepts the token like
// WithToken.
func (g *Guard) admitOwn(r server.Route) func(*fasthttp.RequestHeader) (any, error) {
	writes := isWrite(r)
	return func(h *fasthttp.RequestHeader) (any, error) {
		handshake := isHandshake(h)
		if handshake {
			useOfferedToken(h)
		}
		if (writes || handshake) && !g.isSameOrigin(h) {
			return nil, errOtherOrigin()
		}
		if g.digest == nil && g.options.Authenticate == nil && g.options.Session == nil {
			return nil, nil
		}
		id, read, err := g.identify(h)
		switch {
		case err != nil:
			return nil, err
		case id != nil && id.Cookie && !g.acceptsCookie(h):
			id = nil
		}
		if id == nil && writes && !r.Public && g.digest != nil {
			return nil, errNoToken()
		}
		return admission(id, read), nil
	}
}

// admission returns the result of Admit for a sender and the session that was read, each of
// which may be nil.
func admission(id *Identity, read *session.Session) any {
	var value any
	if id != nil {
		value = id
	}
	if read != nil {
		return read.Admission(value)
	}
	return value
}

// acceptsCookie reports whether an identity from a cookie is accepted: in requests from
// pages of this server or of an allowed origin, and when a person follows a link on any
// page, because that page cannot read the response (Fetch Metadata sections 2.2 and 2.3).
// Otherwise the sender is anonymous.
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

// inSequence returns an Admit function that calls first and then second, which may be
// nil. Handlers get the value of second, or of first if that is nil, and the session that
// second, or else first, has read.
func inSequence(first, second func(*fasthttp.RequestHeader) (any, error)) func(*fasthttp.RequestHeader) (any, error) {
	if second == nil {
		return first
	}
	return func(h *fasthttp.RequestHeader) (any, error) {
		id, err := first(h)
		if err != nil {
			return nil, err
		}
		own, err := second(h)
		if err != nil {
			return nil, err
		}
		switch who := own.(type) {
		case nil:
			return id, nil
		case server.Admission:
			if who.Value == nil {
				who.Value = valueOf(id)
			}
			return who, nil
		}
		if more, ok := id.(server.Admission); ok {
			more.Value = own
			return more, nil
		}
		return own, nil
	}
}

// valueOf returns what handlers get from server.Admitted for a result of Admit.
func valueOf(result any) any {
	if more, ok := result.(server.Admission); ok {
		return more.Value
	}
	return result
}

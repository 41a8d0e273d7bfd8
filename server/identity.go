package server

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// Fields of a request that only a trusted proxy may set.
const (
	headerForwardedFor    = fasthttp.HeaderXForwardedFor
	headerForwardedProto  = fasthttp.HeaderXForwardedProto
	headerRealIP          = "X-Real-Ip" // as fasthttp spells it
	headerScheme          = "X-Scheme"
	headerRequestID       = "X-Request-Id"
	headerForwardedPrefix = "X-Forwarded-Prefix"
)

// maxRequestID is the longest request id that is taken over from a proxy.
const maxRequestID = 128

// peerOf returns the address at the other end of a connection, IPv4 as such and
// without a zone, so that it compares and can be found in a Prefix. It is the
// zero Addr for what is no TCP connection.
func peerOf(nc net.Conn) netip.Addr {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// trusts reports whether addr is one of Options.TrustedProxies.
func (s *Server) trusts(addr netip.Addr) bool {
	for _, network := range s.opts.TrustedProxies {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns the address that a request comes from: the peer's, or, if the
// peer is one of Options.TrustedProxies, what X-Forwarded-For or X-Real-IP says.
//
// X-Forwarded-For is read from right to left, past the trusted proxies: each
// wrote down whom it saw, so the first stranger is the client, and what stands
// left of it is the client's own invention. A proxy that sets one of the two
// fields passes the other on as the client sent it. So if there are both and
// they disagree neither is believed, and the proxy stands for its client.
func Client(ctx *fasthttp.RequestCtx) netip.Addr {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		addr, _ := netip.AddrFromSlice(ctx.RemoteIP())
		return addr.Unmap()
	}
	if !c.trusted {
		return c.peer
	}
	h := &ctx.Request.Header
	forwarded := c.srv.forwardedFor(h)
	text, single := Single(h, headerRealIP)
	if !single {
		return c.peer
	}
	realIP := parseHop([]byte(text))
	switch {
	case !realIP.IsValid() && !forwarded.IsValid():
		return c.peer
	case !realIP.IsValid():
		return forwarded
	case !forwarded.IsValid() || realIP == forwarded:
		return realIP
	case c.srv.trusts(realIP):
		return forwarded // a proxy before the proxy; the chain knows more
	}
	return c.peer
}

// forwardedFor walks X-Forwarded-For, all of its lines, from right to left and
// returns the first address that is no trusted proxy, or the leftmost, or the
// last one before what is no address. It is the zero Addr if there is none.
func (s *Server) forwardedFor(h *fasthttp.RequestHeader) (found netip.Addr) {
	lines := h.PeekAll(headerForwardedFor)
	for i := len(lines) - 1; i >= 0; i-- {
		for line := lines[i]; line != nil; {
			hop := line
			if comma := bytes.LastIndexByte(line, ','); comma >= 0 {
				hop, line = line[comma+1:], line[:comma]
			} else {
				line = nil
			}
			addr := parseHop(hop)
			if !addr.IsValid() {
				return found
			}
			if found = addr; !s.trusts(addr) {
				return found
			}
		}
	}
	return found
}

// parseHop reads an address as proxies write it: bare, or with a port, IPv6
// then in brackets.
func parseHop(text []byte) netip.Addr {
	text = bytes.Trim(text, " \t")
	if len(text) == 0 || len(text) > len("[0123:4567:89ab:cdef:0123:4567:255.255.255.255]:65535") {
		return netip.Addr{}
	}
	if addr, err := netip.ParseAddr(string(bytes.Trim(text, "[]"))); err == nil {
		return addr.Unmap().WithZone("")
	}
	hop, _ := netip.ParseAddrPort(string(text))
	return hop.Addr().Unmap().WithZone("")
}

// Scheme returns how the client sent the request, "https" or "http": by the
// connection itself or, if the peer is one of Options.TrustedProxies, as its
// X-Scheme or X-Forwarded-Proto says. Of a list the last element counts: the
// nearest proxy has added it.
func Scheme(ctx *fasthttp.RequestCtx) string {
	c, ok := ctx.Conn().(*conn)
	switch {
	case ok && c.tls != nil:
		return "https"
	case !ok || !c.trusted:
		return "http"
	}
	return forwardedScheme(&ctx.Request.Header)
}

// saidScheme returns the scheme that X-Scheme or X-Forwarded-Proto names, whoever set them.
func forwardedScheme(h *fasthttp.RequestHeader) string {
	for _, name := range []string{headerScheme, headerForwardedProto} {
		if scheme := lastElement(h, name); scheme != "" {
			if strings.EqualFold(scheme, "https") {
				return "https"
			}
			return "http"
		}
	}
	return "http"
}

// RequestID returns the id under which the log and the answer (X-Request-Id)
// speak of a request: that of a trusted proxy, if it sent one of letters,
// digits, dots, underscores and hyphens, at most 128 of them, or one made here.
func RequestID(ctx *fasthttp.RequestCtx) string {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return ""
	}
	return string(c.id)
}

// identify gives the request that begins on c its id. Ids made here are unique
// among the requests of this process, and their prefix, drawn by each process,
// makes them so among all.
func (s *Server) identify(h *fasthttp.RequestHeader, c *conn) {
	if c.trusted {
		if id, single := Single(h, headerRequestID); single && id != "" && validID(id) {
			c.id = append(c.id[:0], id...)
			return
		}
	}
	c.id = append(append(c.id[:0], s.idPrefix...), '-')
	c.id = strconv.AppendUint(c.id, s.lastID.Add(1), 36)
}

func validID(id string) bool {
	for _, b := range []byte(id) {
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.' {
			return false
		}
	}
	return len(id) <= maxRequestID
}

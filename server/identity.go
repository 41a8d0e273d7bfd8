package server

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// Fields that count only if a trusted proxy sends them.
const (
	headerForwardedFor    = fasthttp.HeaderXForwardedFor
	headerForwardedProto  = fasthttp.HeaderXForwardedProto
	headerRealIP          = "X-Real-Ip" // in fasthttp's spelling
	headerScheme          = "X-Scheme"
	headerRequestID       = "X-Request-Id"
	headerForwardedPrefix = "X-Forwarded-Prefix"
)

// maxRequestID is the longest request id that is accepted from a proxy.
const maxRequestID = 128

// peerOf returns the address of the other end of a connection. IPv4 addresses are
// unmapped and zones removed, so that addresses compare and match a Prefix. It is the
// zero Addr if this is not a TCP connection.
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

// Client returns the address of the client: the peer, or, if the peer is one of
// Options.TrustedProxies, the address in X-Forwarded-For or X-Real-IP.
//
// X-Forwarded-For is read from right to left, past the trusted proxies. Each proxy
// appends the address that it sees, so the first address that is not a trusted proxy
// is the client, and the client may have invented everything to the left of it. A
// proxy that sets one of the two fields passes the other on unchanged, so if both are
// present and differ, neither is used and the result is the proxy's own address.
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
		return forwarded // the address of another proxy; the chain has the client
	}
	return c.peer
}

// forwardedFor walks X-Forwarded-For, all of its lines, from right to left. It returns
// the first address that is not a trusted proxy, else the leftmost address, or the
// last one before an element that is not an address. It returns the zero Addr if there
// is none.
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

// parseHop reads an address as proxies write it: alone, or with a port; IPv6 with a
// port is in brackets.
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

// Scheme returns the scheme that the client used, "https" or "http": that of the
// connection, or, if the peer is one of Options.TrustedProxies, the one in X-Scheme or
// X-Forwarded-Proto. In a list the last element counts, since the nearest proxy has
// added it.
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

// forwardedScheme returns the scheme in X-Scheme or X-Forwarded-Proto, whether or not
// the peer is trusted.
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

// RequestID returns the id of the request in the log and in X-Request-Id of the
// response. It is the id that a trusted proxy sent, if that has at most 128 letters,
// digits, dots, underscores and hyphens, or a new one.
func RequestID(ctx *fasthttp.RequestCtx) string {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return ""
	}
	return string(c.id)
}

// identify sets the id of the request that begins on c. New ids are unique: a number
// within the process after a random prefix of the process.
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

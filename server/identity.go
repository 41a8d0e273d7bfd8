package server

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// Header fields that the server uses only if a trusted proxy sends them. Exception: see
// SameOrigin.
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

// peerOf returns the address of the other end of a TCP connection, and the zero Addr for
// other connections. It unmaps IPv4 addresses and removes zones, so that equal addresses
// compare as equal and match a Prefix.
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
// Client reads X-Forwarded-For from right to left and skips the trusted proxies. Each
// proxy appends the address of its peer, so the first address that is not a trusted
// proxy is that of the client. Everything to the left of it may be forged by the client.
//
// A proxy that sets one of the two fields may pass on the other one unchanged, as the
// client sent it. So if they name different clients, Client uses neither and returns the
// proxy's own address.
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
		return forwarded // X-Real-IP names another proxy, X-Forwarded-For the client
	}
	return c.peer
}

// forwardedFor reads all lines of X-Forwarded-For from right to left. It returns the
// first address that is not a trusted proxy. If all are trusted proxies, it returns the
// leftmost one. At an element that is not an address it stops, and returns the address
// that it read before, or the zero Addr.
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
// X-Forwarded-Proto. If the field is a list, Scheme uses the last element, which the
// nearest proxy has added.
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

// RequestID returns the id of the request, which is also in the log and in the field
// X-Request-Id of the response. It is the id that a trusted proxy sent, if that consists
// of at most 128 letters, digits, dots, underscores and hyphens. Otherwise it is a new
// id. It is "" outside of a Server.
func RequestID(ctx *fasthttp.RequestCtx) string {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return ""
	}
	return string(c.id)
}

// identify sets the id of the current request of c. New ids are unique: they consist of
// a random prefix for the process and a serial number within it.
func (s *Server) identify(h *fasthttp.RequestHeader, c *conn) {
	if c.trusted {
		if id, single := Single(h, headerRequestID); single && id != "" && validID(id) {
			c.id = append(c.id[:0], id...)
			return
		}
	}
	c.id = append(append(c.id[:0], s.idPrefix...), '-')
	c.id = strconv.AppendUint(c.id, s.lastID.Add(1), 32)
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

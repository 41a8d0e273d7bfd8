package server

import (
	"context"
	"crypto/tls"
	"io"
	"time"
)

// handshakeTime is the limit of a TLS handshake as a whole. The handshake runs on the
// goroutine of its connection, so it does not delay accept.
const handshakeTime = 10 * time.Second

// tlsHandshake does the TLS handshake, before the first read of the connection. A
// failure is a fault of the client, often a port scanner, so tlsHandshake logs it at
// debug level and returns io.EOF, which ends the connection without an error response.
func (c *conn) tlsHandshake() error {
	if c.Conn.SetDeadline(time.Now().Add(min(handshakeTime, c.srv.opts.ReadTimeout))) != nil {
		return io.EOF
	}
	if err := c.tls.HandshakeContext(context.Background()); err != nil {
		c.srv.opts.Logger.Debug("TLS handshake failed", "client", c.peer, "error", err)
		return io.EOF
	}
	if c.Conn.SetDeadline(time.Time{}) != nil {
		return io.EOF
	}
	c.setPhase(fresh)
	return nil
}

// withProtocols returns a copy of c for HTTP/1.1. ALPN (RFC 7301) offers
// only http/1.1. The minimum version is TLS 1.2. Other versions and cipher suites are Go's
// defaults, unless c sets them.
func withProtocols(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

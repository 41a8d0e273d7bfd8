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

// tlsHandshake runs before the first read of a TLS connection. A failure is the
// client's fault, often a scanner's: io.EOF ends the connection without a log line
// above debug.
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

// withProtocols returns a copy of c for HTTP/1.1. Clients that offer HTTP/2 learn by
// ALPN (RFC 7301) that it is not supported. Versions and cipher suites are Go's
// defaults, TLS 1.2 and newer, unless c sets them.
func withProtocols(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

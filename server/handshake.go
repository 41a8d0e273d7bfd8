package server

import (
	"context"
	"crypto/tls"
	"io"
	"time"
)

// handshakeTime is how long a TLS handshake may take as a whole. It runs on the
// connection's own goroutine: accepting others does not wait for it.
const handshakeTime = 10 * time.Second

// handshake runs before the first read of a TLS connection. One that fails is
// the client's affair, or a scanner's: io.EOF ends the connection in silence.
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

// withProtocols returns a copy of c for HTTP/1.1: clients that offer HTTP/2 learn
// by ALPN (RFC 7301) that it is not spoken here. Versions and cipher suites are
// Go's defaults, TLS 1.2 and up, unless c says otherwise.
func withProtocols(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

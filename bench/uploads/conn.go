package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// timeLimit is the time limit of a request that sends a small file, also of a slow one.
const timeLimit = 2 * time.Minute

// conn is a kept-alive connection to a server. net/http is not used for many small files,
// because on the same cores it would take more CPU time than some of the servers.
type conn struct {
	addr string
	pace time.Duration // pause after each piece of a body; 0: a body is written at once
	net  net.Conn
	in   *bufio.Reader
}

// piece is the number of bytes that a slow client sends at once.
const piece = 2 << 10

// request is a request whose body is a file between two texts.
type request struct {
	method, target, fields string // fields are lines of the header
	before, after          string
}

// connect opens the connection.
func (c *conn) connect(ctx context.Context) (err error) {
	if c.net, err = new(net.Dialer).DialContext(ctx, "tcp", c.addr); err != nil {
		return err
	}
	c.in = bufio.NewReader(c.net)
	return nil
}

func (c *conn) close() {
	if c.net != nil {
		_ = c.net.Close() // every response has been read
	}
	c.net = nil
}

// do sends a request that must succeed, and returns the header of the response. It opens the
// connection if the server has closed it after the last response.
func (c *conn) do(ctx context.Context, r request, content []byte) (http.Header, error) {
	if c.net == nil {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.net.SetDeadline(time.Now().Add(timeLimit)); err != nil {
		return nil, err
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		r.method, r.target, c.addr, len(r.before)+len(content)+len(r.after), r.fields, r.before)
	if err := c.write(ctx, head, content, []byte(r.after)); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // has been read
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if resp.Close {
		c.close()
	}
	return resp.Header, err
}

// write writes a request, a slow client its content piece by piece.
func (c *conn) write(ctx context.Context, head, content, tail []byte) error {
	if c.pace == 0 || len(content) == 0 {
		all := net.Buffers{head, content, tail}
		_, err := all.WriteTo(c.net)
		return err
	}
	if _, err := c.net.Write(head); err != nil {
		return err
	}
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	for part := range slices.Chunk(content, piece) {
		if _, err := c.net.Write(part); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	_, err := c.net.Write(tail)
	return err
}

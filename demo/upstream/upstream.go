// Package upstream fetches pages of one other server for handlers: over a pool
// of connections, within limits of time and size, and never from anywhere else
// than where it was told to, whatever redirects say.
package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// What a fetch can fail with. The first two mean that the other server is at
// fault or away (502), the last that it was too slow (504).
var (
	ErrUnreachable = errors.New("upstream cannot be reached")
	ErrBadResponse = errors.New("upstream does not answer as it should")
	ErrTimeout     = errors.New("upstream did not answer in time")
)

// maxRedirects is how many redirects, all on the same origin, are followed.
const maxRedirects = 5

// Options configure a Client. The zero value is the documented default.
type Options struct {
	// Timeout is for a fetch as a whole, redirects and the wait for a free
	// connection included. Default 30 s.
	Timeout time.Duration
	// MaxConns is how many connections may be open at once. Default 1024.
	MaxConns int
	// MaxBody is the limit of an answer's body in bytes; a larger one is an
	// ErrBadResponse. Default 10 MiB.
	MaxBody int
}

// Client fetches one address. It is safe for concurrent use.
type Client struct {
	target  *url.URL
	timeout time.Duration
	http    *fasthttp.Client
}

// Result is what came of a fetch.
type Result struct {
	Status int
	Size   int // of the body, bytes
	Took   time.Duration
}

// New makes a client for target, an absolute http or https address.
func New(target string, o Options) (*Client, error) {
	u, err := Parse(target)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 1024
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 10 << 20
	}
	return &Client{target: u, timeout: o.Timeout, http: &fasthttp.Client{
		Name:                "gale",
		MaxConnsPerHost:     o.MaxConns,
		MaxConnWaitTimeout:  o.Timeout,
		MaxIdleConnDuration: 30 * time.Second,
		MaxResponseBodySize: o.MaxBody,
		// A connection that was idle may have been closed under the request; once
		// more is for that, and no way to double the load on a server in trouble.
		MaxIdemponentCallAttempts: 2,
		// Both families: fasthttp dials IPv4 only unless told so.
		DialDualStack: true,
	}}, nil
}

// Parse checks that target is an address that can be fetched.
func Parse(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("parse address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no http or https address", target)
	}
	return u, nil
}

// Fetch gets the page. Its errors are ErrUnreachable, ErrBadResponse and ErrTimeout;
// an answer that is no success is an ErrBadResponse too.
func (c *Client) Fetch() (Result, error) {
	start := time.Now()
	deadline := start.Add(c.timeout)
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	at := c.target
	for range maxRedirects + 1 {
		req.SetRequestURI(at.String())
		if err := c.http.DoDeadline(req, resp, deadline); err != nil {
			return Result{}, mapError(err)
		}
		status := resp.StatusCode()
		if !fasthttp.StatusCodeIsRedirect(status) {
			if status < 200 || status > 299 {
				return Result{}, fmt.Errorf("%w: status %d", ErrBadResponse, status)
			}
			return Result{Status: status, Size: len(resp.Body()), Took: time.Since(start)}, nil
		}
		next, err := at.Parse(string(resp.Header.Peek(fasthttp.HeaderLocation)))
		if err != nil || next.Scheme != at.Scheme || !strings.EqualFold(next.Host, at.Host) {
			return Result{}, fmt.Errorf("%w: it redirects to elsewhere", ErrBadResponse)
		}
		at = next
		resp.Reset()
	}
	return Result{}, fmt.Errorf("%w: more than %d redirects", ErrBadResponse, maxRedirects)
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// fault names an error of fasthttp.
func mapError(err error) error {
	switch {
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, fasthttp.ErrDialTimeout), errors.Is(err, fasthttp.ErrTLSHandshakeTimeout),
		errors.Is(err, fasthttp.ErrNoFreeConns), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fmt.Errorf("%w: %w", ErrBadResponse, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

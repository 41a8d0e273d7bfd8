// Package upstream is an HTTP client for one URL of another server. It reuses
// connections, limits the time and the size of a fetch, and follows redirects only to the
// same origin.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Errors of a fetch. A handler should respond with 502 to the first two and with 504 to
// ErrTimeout.
var (
	ErrUnreachable = errors.New("upstream cannot be reached")
	ErrBadResponse = errors.New("invalid response from upstream")
	ErrTimeout     = errors.New("upstream timed out")
)

// scope is the name of the instrumentation scope of the spans.
const scope = "github.com/galeserver/gale/demo/upstream"

// maxRedirects is the limit of redirects in one fetch.
const maxRedirects = 5

// Options configure a Client. Each zero field means the documented default.
type Options struct {
	// Timeout is the limit for a whole fetch, including redirects and the wait for
	// a free connection. Default 30 s.
	Timeout time.Duration
	// MaxConns is the limit of open connections. Default 1024.
	MaxConns int
	// MaxBody is the size limit of a response body, in bytes. A larger body is an
	// ErrBadResponse. Default 10 MiB.
	MaxBody int
}

// Client fetches one URL. It is safe for concurrent use.
type Client struct {
	target  *url.URL
	timeout time.Duration
	http    *fasthttp.Client
}

// Result describes a successful fetch.
type Result struct {
	Status int           // HTTP status
	Size   int           // size of the body in bytes
	Took   time.Duration // duration of the fetch
}

// New returns a client for target, an absolute http or https URL.
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
		// One retry, because the server may have closed the idle connection at the
		// same time. More retries would increase the load of a failing server.
		MaxIdemponentCallAttempts: 2,
		// By default fasthttp dials IPv4 only.
		DialDualStack: true,
	}}, nil
}

// Parse parses target, which must be an absolute http or https URL.
func Parse(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", target)
	}
	return u, nil
}

// Fetch gets the page and reads its whole body. Every error wraps ErrUnreachable,
// ErrBadResponse or ErrTimeout. A status outside of 200 to 299 is an ErrBadResponse. ctx
// does not end a fetch. If it leads to a span of OpenTelemetry, the fetch gets a span below
// it, and the upstream gets that in traceparent and tracestate (W3C Trace Context).
func (c *Client) Fetch(ctx context.Context) (Result, error) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer(scope).Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	got, err := c.fetch(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return got, err
}

func (c *Client) fetch(ctx context.Context) (Result, error) {
	start := time.Now()
	deadline := start.Add(c.timeout)
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	at := c.target
	for range maxRedirects + 1 {
		req.SetRequestURI(at.String())
		propagation.TraceContext{}.Inject(ctx, requestFields{&req.Header})
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
			return Result{}, fmt.Errorf("%w: redirect to another origin", ErrBadResponse)
		}
		at = next
		resp.Reset()
	}
	return Result{}, fmt.Errorf("%w: more than %d redirects", ErrBadResponse, maxRedirects)
}

// requestFields are the fields of a request as a propagation.TextMapCarrier.
type requestFields struct{ *fasthttp.RequestHeader }

// Get implements propagation.TextMapCarrier.
func (f requestFields) Get(name string) string { return string(f.Peek(name)) }

// Keys implements propagation.TextMapCarrier.
func (f requestFields) Keys() (names []string) {
	for name := range f.All() {
		names = append(names, string(name))
	}
	return names
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// mapError wraps an error of fasthttp in one of the errors of this package.
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

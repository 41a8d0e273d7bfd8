package middleware

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
)

const (
	defaultMaxSize = 1 << 20

	// passTime limits how long requests of a key go to the handler at once after a
	// response that could not be stored.
	passTime = 10 * time.Second
)

// errLeft is the error of a computation whose request did not wait for it.
var errLeft = errors.New("the request has ended")

// CacheOptions configure Cache. The zero value is the documented default.
type CacheOptions struct {
	// Vary names the fields of requests on which the response depends, such as
	// Accept-Language. Each combination of their values has its own response. Default:
	// none.
	Vary []string
	// Key returns what else the response depends on, such as the name of the user. With
	// Key, requests with Authorization, a cookie or a value of Admit are cached too. ok
	// is false for a request that must not be cached. Default: requests of that kind are
	// not cached, and all others depend on nothing else.
	Key func(ctx *fasthttp.RequestCtx) (key string, ok bool)
	// Statuses are the statuses of responses that are stored. Default: 200.
	Statuses []int
	// MaxSize limits the body of a stored response, in bytes. Default 1 MiB.
	MaxSize int
}

// Cache stores responses to GET and HEAD requests for ttl, for all processes and machines.
// While a handler makes a response that can be stored, other requests for the same one wait
// for it, so the handler runs once. A ttl below a millisecond means no cache.
//
// The key of a response is its method and target with scheme, host and query string, and
// what CacheOptions add. Requests with a body, with Range, with a condition (If-None-Match
// and others) or with Upgrade go to the handler. Cache-Control of a request is ignored:
// clients cannot make the handler run.
//
// A response is stored if its status is in Statuses, it has no Set-Cookie, its Vary names
// only fields of CacheOptions.Vary, its Cache-Control has none of no-store, no-cache and
// private, its body is at most MaxSize, and it is neither a stream nor a connection that was
// taken over. A handler of server.HTTP streams what is longer than 4 KiB. If Cache-Control
// or Expires of the response name a shorter time than ttl, it is stored for that time.
// The header fields are stored that the handler and the middleware inside of Cache have set.
//
// Requests that wait for a response that is not stored then run their own handler. Unless the
// handler failed, by a 5xx response or another error, requests for the same key do not wait
// for each other in the next 10 s.
//
// Stored responses have the field Age (RFC 9111 §5.1), so that caches in front of the server
// do not keep them longer than Cache-Control allows. If Redis is not available, nothing is
// stored, and the requests in a process still share a running handler.
func Cache(c *cache.Cache, ttl time.Duration, o CacheOptions) server.Middleware {
	o.MaxSize = cmp.Or(max(o.MaxSize, 0), defaultMaxSize)
	if len(o.Statuses) == 0 {
		o.Statuses = []int{fasthttp.StatusOK}
	}
	o.Vary, o.Statuses = slices.Clone(o.Vary), slices.Clone(o.Statuses)
	return func(next server.Handler) server.Handler {
		if c == nil {
			panic("middleware.Cache: the cache is nil")
		}
		for _, name := range o.Vary {
			if !server.ValidField(name) || name == "*" {
				panic("middleware.Cache: Vary has " + quote(name) + ", which is not the name of a header field")
			}
		}
		if ttl < time.Millisecond {
			return next
		}
		r := &responses{cache: c, ttl: ttl, o: o, next: next}
		return func(ctx *fasthttp.RequestCtx) error {
			if key, ok := r.key(ctx); ok {
				return r.serve(ctx, key)
			}
			return next(ctx)
		}
	}
}

// responses stores the responses of a handler.
type responses struct {
	cache *cache.Cache
	ttl   time.Duration
	o     CacheOptions
	next  server.Handler
}

// serve responds to a request that may be cached.
//
// The cache calls compute on another goroutine. compute uses ctx, so serve must not return
// while it runs: the context with which serve waits ends only if compute has not begun, and
// then compute does nothing.
func (r *responses) serve(ctx *fasthttp.RequestCtx, key string) error {
	var begun atomic.Bool // by compute, or by the end of the wait, which excludes compute
	wait, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	own := server.Context(ctx)
	stop := context.AfterFunc(own, func() {
		if begun.CompareAndSwap(false, true) {
			leave(context.Cause(own))
		}
	})
	defer stop()

	ran := false
	var failure error // of the handler
	compute := func(context.Context) (value string, ttl time.Duration, err error) {
		if !begun.CompareAndSwap(false, true) {
			return "", 0, errLeft
		}
		ran = true
		value, ttl, failure = r.compute(ctx)
		if isServerFault(failure) {
			return "", 0, failure
		}
		return value, ttl, nil
	}
	for {
		value, _, err := r.cache.GetFor(wait, key, compute)
		switch {
		case wait.Err() != nil:
			return context.Cause(wait)
		case ran && failure == nil:
			return err // not nil if the handler has panicked
		case ran:
			return failure
		case errors.Is(err, errLeft):
			continue // another client has left before its handler ran
		case err == nil && writeStored(ctx, value):
			return nil
		}
		return r.next(ctx)
	}
}

// compute runs the handler. It returns the response as stored text and the time for which
// it is stored. For a response that must not be stored it returns a mark, which is not
// stored either if the server has failed.
func (r *responses) compute(ctx *fasthttp.RequestCtx) (value string, ttl time.Duration, err error) {
	before := fieldsOf(&ctx.Response.Header)
	if err := r.next(ctx); err != nil {
		return pass, min(r.ttl, passTime), err
	}
	switch ttl = r.storeFor(ctx); {
	case ttl >= time.Millisecond:
	case ctx.Response.StatusCode() >= fasthttp.StatusInternalServerError:
		return pass, 0, nil
	default:
		return pass, min(r.ttl, passTime), nil
	}
	return stored(ctx, before), ttl, nil
}

// isServerFault reports whether err is not a decision of the handler about the request,
// so the next request may get another result.
func isServerFault(err error) bool {
	if err == nil {
		return false
	}
	e, ok := errors.AsType[*server.Error](err)
	return !ok || e.Status >= fasthttp.StatusInternalServerError
}

// key returns the key of the response to a request. ok is false if it is not cached.
func (r *responses) key(ctx *fasthttp.RequestCtx) (key string, ok bool) {
	h := &ctx.Request.Header
	if !ctx.IsGet() && !ctx.IsHead() || h.ContentLength() > 0 || h.ContentLength() == -1 {
		return "", false
	}
	for _, name := range []string{
		fasthttp.HeaderUpgrade, fasthttp.HeaderRange, fasthttp.HeaderIfMatch, fasthttp.HeaderIfNoneMatch,
		fasthttp.HeaderIfModifiedSince, fasthttp.HeaderIfUnmodifiedSince, fasthttp.HeaderIfRange,
	} {
		if len(h.Peek(name)) > 0 {
			return "", false
		}
	}
	own := ""
	if r.o.Key != nil {
		if own, ok = r.o.Key(ctx); !ok {
			return "", false
		}
	} else if len(h.Peek(fasthttp.HeaderAuthorization)) > 0 || len(h.Peek(fasthttp.HeaderCookie)) > 0 || server.Admitted(ctx) != nil {
		return "", false
	}
	// Location depends on the prefix that proxies have removed, and so do links in the
	// response.
	parts := []string{string(h.Method()), server.Scheme(ctx), strings.ToLower(string(h.Host())), server.Location(ctx, "/"), string(h.RequestURI()), own}
	for _, name := range r.o.Vary {
		parts = append(parts, name, server.List(h, name))
	}
	return "response:" + digest(parts), true
}

// digest returns a hash of parts. Keys in Redis are so short, whatever a client sends.
func digest(parts []string) string {
	hash := sha256.New()
	for _, part := range parts {
		_, _ = hash.Write(binary.AppendUvarint(nil, uint64(len(part)))) // never fails
		_, _ = hash.Write([]byte(part))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

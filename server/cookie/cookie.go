// Package cookie keeps short values with the client, in cookies that the client cannot
// change and, if they are secret, cannot read.
//
// It is what Tornado calls a signed cookie: a value with its time and a signature
// (HMAC-SHA256, github.com/gorilla/securecookie). A cookie that was forged, that belongs
// to another name, or that is older than its MaxAge counts as not sent.
package cookie

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// maxLength is how long the value of a cookie may be when it is signed, in bytes:
// browsers keep 4,096 with name and attributes (RFC 6265 §6.1).
const maxLength = 3840

// ErrTooLong is a value that browsers would not keep.
var ErrTooLong = errors.New("value is too long for a cookie")

// Options configure a Cookie. The zero value of a field is the documented default.
type Options struct {
	// Name of the cookie. It must be given.
	Name string
	// MaxAge is how long the client keeps the cookie, and how old it may be when it
	// comes back. Default 30 days.
	MaxAge time.Duration
	// Secret encrypts the value (AES-CTR), so that the client cannot read it.
	Secret bool
	// Path and Domain say for which paths and hosts the client sends it. Defaults: all
	// paths of the server, and its own host alone.
	Path, Domain string
	// SameSite restricts with which requests from other sites the client sends it.
	// Default Lax: with links that a person follows.
	SameSite fasthttp.CookieSameSite
	// Readable lets scripts of the page read it. Default: they cannot (HttpOnly).
	Readable bool
}

// Cookie is one cookie of an application. It is safe for concurrent use.
type Cookie struct {
	o      Options
	codecs []securecookie.Codec
}

// New makes a cookie. It panics if Options has no valid name, which is a token of
// RFC 9110 §5.6.2.
func New(keys *Keys, o Options) *Cookie {
	if !server.ValidField(o.Name) {
		panic(fmt.Sprintf("cookie: %q is not a name", o.Name))
	}
	o.MaxAge = cmp.Or(max(o.MaxAge, 0), 30*24*time.Hour)
	o.SameSite = cmp.Or(o.SameSite, fasthttp.CookieSameSiteLaxMode)
	return &Cookie{o: o, codecs: keys.codecs(o)}
}

// Set sends the cookie with a value to the client. It is marked Secure if the client
// uses HTTPS (see server.Scheme). The error wraps ErrTooLong.
func (c *Cookie) Set(ctx *fasthttp.RequestCtx, value string) error {
	text, err := securecookie.EncodeMulti(c.o.Name, []byte(value), c.codecs[:1]...)
	if err != nil {
		return fmt.Errorf("set cookie %s: %w", c.o.Name, ErrTooLong)
	}
	sent := c.make(ctx, text)
	sent.SetMaxAge(int(c.o.MaxAge.Seconds()))
	ctx.Response.Header.SetCookie(sent)
	return nil
}

// Get returns the value that the client has sent; ok is false if it has sent none, or
// one that is forged or too old.
func (c *Cookie) Get(ctx *fasthttp.RequestCtx) (value string, ok bool) {
	return c.Read(&ctx.Request.Header)
}

// Read is Get for code that has no more than the header, such as an application's
// Authenticate.
func (c *Cookie) Read(h *fasthttp.RequestHeader) (value string, ok bool) {
	text := h.Cookie(c.o.Name)
	if len(text) == 0 {
		return "", false
	}
	var data []byte
	if securecookie.DecodeMulti(c.o.Name, string(text), &data, c.codecs...) != nil {
		return "", false
	}
	return string(data), true
}

// Clear makes the client forget the cookie.
func (c *Cookie) Clear(ctx *fasthttp.RequestCtx) {
	sent := c.make(ctx, "")
	sent.SetExpire(fasthttp.CookieExpireDelete)
	ctx.Response.Header.SetCookie(sent)
}

func (c *Cookie) make(ctx *fasthttp.RequestCtx, value string) *fasthttp.Cookie {
	sent := new(fasthttp.Cookie)
	sent.SetKey(c.o.Name)
	sent.SetValue(value)
	sent.SetPath(cmp.Or(c.o.Path, server.Link(ctx, ""), "/"))
	sent.SetDomain(c.o.Domain)
	sent.SetHTTPOnly(!c.o.Readable)
	sent.SetSecure(server.Scheme(ctx) == "https" || c.o.SameSite == fasthttp.CookieSameSiteNoneMode)
	sent.SetSameSite(c.o.SameSite)
	return sent
}

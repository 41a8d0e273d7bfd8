// Package cookie stores short values in signed cookies. The client cannot change such a
// cookie without invalidating it. If the cookie is secret, the client cannot read its
// value either.
//
// Tornado calls this a signed cookie: the cookie contains the value, the time at which it
// was set, and a signature (HMAC-SHA256, github.com/gorilla/securecookie). A cookie that
// is forged, was signed for another name, or is older than its MaxAge is treated as
// missing.
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

// maxLength is the limit of a signed value, in bytes. Browsers must store at least 4,096
// bytes for a cookie with its name and attributes (RFC 6265 §6.1).
const maxLength = 3840

// ErrTooLong is the error of Set for a value that browsers might not store.
var ErrTooLong = errors.New("value is too long for a cookie")

// Options configure a Cookie. The zero value of a field is the documented default.
type Options struct {
	// Name is the name of the cookie. Required.
	Name string
	// MaxAge is the time for which the client stores the cookie, and the maximum age of a
	// cookie in a request. It is rounded down to whole seconds; the minimum is one second.
	// Default 30 days.
	MaxAge time.Duration
	// Secret encrypts the value (AES-CTR), so that the client cannot read it. Default:
	// the value is signed but readable.
	Secret bool
	// Path and Domain restrict the paths and hosts to which the client sends the
	// cookie. Defaults: all paths of the server, and only the server's own host.
	Path, Domain string
	// SameSite restricts the requests from other sites in which the client sends the
	// cookie. Default Lax: only requests for which a user follows a link.
	SameSite fasthttp.CookieSameSite
	// Readable lets scripts of the page read the cookie. Default: they cannot (HttpOnly).
	Readable bool
}

// Cookie is one cookie of an application. It is safe for concurrent use.
type Cookie struct {
	o      Options
	codecs []securecookie.Codec
}

// New makes a cookie. It panics if Options.Name is not a token (RFC 9110 §5.6.2).
func New(keys *Keys, o Options) *Cookie {
	if !server.ValidField(o.Name) {
		panic(fmt.Sprintf("cookie: %q is not a name", o.Name))
	}
	o.MaxAge = max(cmp.Or(max(o.MaxAge, 0), 30*24*time.Hour), time.Second) // 0 seconds would mean no limit
	o.SameSite = cmp.Or(o.SameSite, fasthttp.CookieSameSiteLaxMode)
	return &Cookie{o: o, codecs: keys.codecs(o)}
}

// Set sends the cookie with a value to the client. It is marked Secure if the client
// uses HTTPS (see server.Scheme). The error wraps ErrTooLong.
func (c *Cookie) Set(ctx *fasthttp.RequestCtx, value string) error {
	text, err := securecookie.EncodeMulti(c.o.Name, []byte(value), c.codecs[:1]...)
	if err != nil {
		return fmt.Errorf("set cookie %s: %w: %w", c.o.Name, ErrTooLong, err)
	}
	sent := c.make(ctx, text)
	sent.SetMaxAge(int(c.o.MaxAge.Seconds()))
	ctx.Response.Header.SetCookie(sent)
	return nil
}

// Get returns the value that the client has sent. ok is false if the cookie is missing,
// forged or too old.
func (c *Cookie) Get(ctx *fasthttp.RequestCtx) (value string, ok bool) {
	return c.Read(&ctx.Request.Header)
}

// Read is Get for code that has only the head of the request, such as an application's
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

// Clear makes the client delete the cookie.
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

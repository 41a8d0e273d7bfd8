package access

import (
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// sessionCookie is the name of the cookie of a console session.
	sessionCookie = "gale_session"
	// sessionDuration is the time until a session expires.
	sessionDuration = 12 * time.Hour
)

// sessions creates and validates console sessions. A session consists of an expiry time, a
// nonce, and their message authentication code (RFC 2104) with a key derived from the
// token (HKDF, RFC 5869). Every process can therefore validate the sessions of other processes
// without shared state, no cookie contains the token, and a new token ends all sessions.
type sessions struct{ key []byte }

func newSessions(token string) sessions {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "gale console session", sha256.Size)
	if err != nil { // a short token in FIPS 140 mode: sessions are then never valid
		return sessions{}
	}
	return sessions{key}
}

// NewSession returns the cookie of a new session. The browser has reached the server with
// scheme, under the path prefix path.
func (g *Guard) NewSession(scheme, path string) *fasthttp.Cookie {
	return g.sessions.cookie(g.sessions.create(time.Now().Add(sessionDuration)), scheme, path)
}

// EndSession returns a cookie that removes the session's cookie.
func (g *Guard) EndSession(scheme, path string) *fasthttp.Cookie {
	return g.sessions.cookie("", scheme, path)
}

// create returns a session that expires at until.
func (s sessions) create(until time.Time) string {
	text := strconv.FormatInt(until.Unix(), 10) + "." + rand.Text()
	return text + "." + s.sign(text)
}

// valid reports whether a session was created with the same token and has not expired.
func (s sessions) valid(session string, now time.Time) bool {
	cut := strings.LastIndexByte(session, '.')
	if len(s.key) == 0 || cut < 0 || !hmac.Equal([]byte(session[cut+1:]), []byte(s.sign(session[:cut]))) {
		return false
	}
	until, _, _ := strings.Cut(session, ".")
	seconds, err := strconv.ParseInt(until, 10, 64)
	return err == nil && now.Before(time.Unix(seconds, 0))
}

func (s sessions) sign(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// cookie returns the cookie of a session; an empty session removes the cookie. Scripts
// cannot read the cookie, and pages of other sites cannot send it (RFC 6265bis section
// 5.4.7).
func (s sessions) cookie(session, scheme, path string) *fasthttp.Cookie {
	var c fasthttp.Cookie
	c.SetKey(sessionCookie)
	c.SetValue(session)
	c.SetPath(cmp.Or(path, "/")) // other servers may share the host
	c.SetHTTPOnly(true)
	c.SetSecure(scheme == "https")
	c.SetSameSite(fasthttp.CookieSameSiteStrictMode)
	if session == "" {
		c.SetExpire(fasthttp.CookieExpireDelete)
		return &c
	}
	c.SetMaxAge(int(sessionDuration.Seconds()))
	return &c
}

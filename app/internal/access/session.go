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
	// sessionCookie is the cookie of who has given the token at the console.
	sessionCookie = "gale_session"
	// sessionDuration is how long it is good for.
	sessionDuration = 12 * time.Hour
)

// sessions are proofs that somebody has given the token: a time and a message
// authentication code of it (RFC 2104), under a key that is made of the token
// (HKDF, RFC 5869). So each process knows those of the others, nothing needs to
// be kept, the token itself is in no cookie, and a new token ends them all.
type sessions struct{ key []byte }

func newSessions(token string) sessions {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "gale console session", sha256.Size)
	if err != nil { // only of too long a key, or a short token under FIPS 140: then nobody has a session
		return sessions{}
	}
	return sessions{key}
}

// Begin makes the cookie of a new session, for a browser that reached the server by
// scheme under path.
func (g *Guard) NewSession(scheme, path string) *fasthttp.Cookie {
	return g.sessions.cookie(g.sessions.create(time.Now().Add(sessionDuration)), scheme, path)
}

// End makes the cookie that removes a session.
func (g *Guard) EndSession(scheme, path string) *fasthttp.Cookie {
	return g.sessions.cookie("", scheme, path)
}

// begin makes a session that is good until a time.
func (s sessions) create(until time.Time) string {
	text := strconv.FormatInt(until.Unix(), 10) + "." + rand.Text()
	return text + "." + s.sign(text)
}

// holds reports whether a session was begun here, or at a sibling, and is not
// over.
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

// cookie makes the Set-Cookie for a session, or for none, which removes it. No
// script can read it and no page of another site can send it (RFC 6265bis §5.4.7).
func (s sessions) cookie(session, scheme, path string) *fasthttp.Cookie {
	var c fasthttp.Cookie
	c.SetKey(sessionCookie)
	c.SetValue(session)
	c.SetPath(cmp.Or(path, "/")) // else it would go to whatever shares the host
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

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/session"
)

// cookieKeys returns a function that reads the keys of cookies on its first call: those of
// -cookie-key-file, or else the key in cookie.key in -data, which is created if it is
// missing.
func cookieKeys(c config.Config) func() (*cookie.Keys, error) {
	return sync.OnceValues(func() (*cookie.Keys, error) {
		if c.CookieKeyFile != "" {
			return cookie.ReadKeys(c.CookieKeyFile)
		}
		return cookie.EnsureKeys(filepath.Join(c.Data, "cookie.key"))
	})
}

// offlineKeys returns random keys. Cookies made with them are never sent to a client.
func offlineKeys() (*cookie.Keys, error) { return cookie.NewKeys([]byte(rand.Text() + rand.Text())) }

// Cookie makes a cookie that the client cannot change, and with Secret cannot read; see
// package cookie. It is signed with the first key of -cookie-key-file, or else with the
// key in cookie.key in -data. Cookie panics if the name is not valid. Call it only in
// Application.Routes.
func (s *Services) Cookie(o cookie.Options) *cookie.Cookie {
	keys, err := s.keys()
	if err != nil {
		s.faults = append(s.faults, err)
		keys, _ = offlineKeys() // the process does not start
	}
	return cookie.New(keys, o)
}

// sessionsFor sets s.Sessions if the application has Sessions.
func (a *Application) sessionsFor(s *Services) error {
	if a.Sessions == nil {
		return nil
	}
	keys, err := s.keys()
	if err != nil {
		return err
	}
	s.Sessions = session.New(s.redis, keys, *a.Sessions)
	return nil
}

// readSession returns the function that reads the session of a request before it is
// admitted. It is nil if the application has no sessions.
func readSession(s *session.Sessions) func(*fasthttp.RequestHeader) (*session.Session, error) {
	if s == nil {
		return nil
	}
	return func(h *fasthttp.RequestHeader) (*session.Session, error) {
		got, err := s.Read(context.Background(), h) // the client of Redis has its own time limit
		if errors.Is(err, session.ErrAway) {
			return nil, errSessionsAway()
		}
		return got, err
	}
}

// errSessionsAway returns a new error on each call, because the response is written from it.
func errSessionsAway() error {
	return &server.Error{Status: fasthttp.StatusServiceUnavailable, Reason: "sessions are not available, try again", RetryAfter: time.Second}
}

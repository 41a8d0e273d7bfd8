package app

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/session"
)

// cookieKeys returns a function that reads the keys of cookies when it is first called:
// those of -cookie-key-file, or else one that is made in -data.
func cookieKeys(c config.Config) func() (*cookie.Keys, error) {
	return sync.OnceValues(func() (*cookie.Keys, error) {
		if c.CookieKeyFile != "" {
			return cookie.ReadKeys(c.CookieKeyFile)
		}
		return cookie.EnsureKeys(filepath.Join(c.Data, "cookie.key"))
	})
}

// offlineKeys are for cookies that nobody gets.
func offlineKeys() (*cookie.Keys, error) { return cookie.NewKeys([]byte(rand.Text() + rand.Text())) }

// Cookie makes a cookie that the client cannot change, and with Secret cannot read; see
// package cookie. It is signed with the first key of -cookie-key-file, or else with a key
// that is made in -data. Without a valid name it panics. It is for Routes.
func (s *Services) Cookie(o cookie.Options) *cookie.Cookie {
	keys, err := s.keys()
	if err != nil {
		s.faults = append(s.faults, err)
		keys, _ = offlineKeys() // the process does not start
	}
	return cookie.New(keys, o)
}

// sessionsFor opens the sessions of an application that wants them.
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

// identify returns the application's Authenticate, and behind it the sessions; nil if
// there is neither.
func (a *Application) identify(sessions *session.Sessions) func(*fasthttp.RequestHeader) (*Identity, error) {
	if sessions == nil {
		return a.Authenticate
	}
	return func(h *fasthttp.RequestHeader) (*Identity, error) {
		if a.Authenticate != nil {
			if id, err := a.Authenticate(h); id != nil || err != nil {
				return id, err
			}
		}
		subject, err := sessions.Subject(context.Background(), h) // the client of Redis has its own time limit
		switch {
		case errors.Is(err, session.ErrAway):
			return nil, errSessionsAway()
		case err != nil || subject == "":
			return nil, err
		}
		return &Identity{Subject: subject, Cookie: true}, nil
	}
}

// errSessionsAway is made anew: a response is written from it.
func errSessionsAway() error {
	return server.Fail(fasthttp.StatusServiceUnavailable, "sessions cannot be read now, try again")
}

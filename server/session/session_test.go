package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/session"
)

func keys(t *testing.T) *cookie.Keys {
	t.Helper()
	k, err := cookie.NewKeys(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// browser keeps one cookie.
type browser struct {
	t      *testing.T
	cookie string
}

// request runs a handler with the browser's session and returns the error of the
// middleware.
func (b *browser) request(s *session.Sessions, handle func(*session.Session)) error {
	b.t.Helper()
	ctx := newRequest()
	if b.cookie != "" {
		ctx.Request.Header.SetCookie("session", b.cookie)
	}
	err := s.Middleware(func(ctx *fasthttp.RequestCtx) error {
		got, err := s.Of(ctx)
		if err == nil {
			handle(got)
		}
		return err
	})(ctx)
	for _, text := range ctx.Response.Header.Cookies() {
		var c fasthttp.Cookie
		if err := c.ParseBytes(text); err != nil {
			b.t.Fatal(err)
		}
		b.cookie = string(c.Value())
	}
	return err
}

func (b *browser) must(s *session.Sessions, handle func(*session.Session)) {
	b.t.Helper()
	if err := b.request(s, handle); err != nil {
		b.t.Fatal(err)
	}
}

// get returns a value and who is logged in.
func (b *browser) get(s *session.Sessions, name string) (value, subject string) {
	b.t.Helper()
	b.must(s, func(got *session.Session) { value, subject = got.Get(name), got.Subject() })
	return value, subject
}

func TestSession(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		here := session.New(sharedtest.Open(t, address), keys(t), session.Options{})
		there := session.New(sharedtest.Open(t, address), keys(t), session.Options{}) // another process
		ada := &browser{t: t}

		ada.must(here, func(s *session.Session) { s.Delete("cart"); _ = s.Flashes() })
		if ada.cookie != "" {
			t.Error("a session without a value has a cookie")
		}
		ada.must(here, func(s *session.Session) { s.Set("cart", "two apples\x00\xff"); s.Set("gone", "x"); s.Flash("added") })
		anonymous := ada.cookie
		if value, subject := ada.get(there, "cart"); value != "two apples\x00\xff" || subject != "" {
			t.Errorf("%q of %q", value, subject)
		}
		ada.must(there, func(s *session.Session) {
			s.Delete("gone")
			s.Flash("twice")
			if got := s.Flashes(); !slices.Equal(got, []string{"added", "twice"}) {
				t.Errorf("flashes: %q", got)
			}
		})
		ada.must(here, func(s *session.Session) {
			if s.Get("gone") != "" || s.Flashes() != nil || s.Get(".until") != "" {
				t.Error("it is still there")
			}
			s.Login("ada")
		})
		if value, subject := ada.get(there, "cart"); value != "two apples\x00\xff" || subject != "ada" {
			t.Errorf("after login: %q of %q", value, subject)
		}
		planted := &browser{t: t, cookie: anonymous}
		if value, subject := planted.get(here, "cart"); value != "" || subject != "" {
			t.Errorf("the token from before the login: %q of %q", value, subject)
		}
		if planted.cookie != "" {
			t.Error("the client keeps the token of a session that has ended")
		}

		before := ada.cookie
		ada.must(there, func(s *session.Session) { s.Logout(); s.Flash("goodbye") })
		if _, subject := (&browser{t: t, cookie: before}).get(here, "cart"); subject != "" {
			t.Error("logged in after the logout")
		}
		ada.must(here, func(s *session.Session) {
			if got := s.Flashes(); s.Subject() != "" || s.Get("cart") != "" || !slices.Equal(got, []string{"goodbye"}) {
				t.Errorf("after the logout: %q", got)
			}
		})
	})
}

// Concurrent requests of one client do not overwrite each other's values, and none of them
// restores a session that another one has ended.
func TestRequestsAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := session.New(sharedtest.Open(t, sharedtest.StateServer(t)), keys(t), session.Options{})
	ada := &browser{t: t}
	ada.must(s, func(s *session.Session) { s.Login("ada"); s.Set("a", "0"); s.Set("b", "0") })
	tab := &browser{t: t, cookie: ada.cookie}
	ada.must(s, func(got *session.Session) {
		got.Set("a", "1")
		tab.must(s, func(other *session.Session) { other.Set("b", "2") })
	})
	ada.must(s, func(got *session.Session) {
		if got.Get("a") != "1" || got.Get("b") != "2" {
			t.Errorf("a %s, b %s", got.Get("a"), got.Get("b"))
		}
		got.Set("a", "3")
		tab.must(s, func(other *session.Session) { other.Logout() })
	})
	if value, subject := ada.get(s, "a"); value != "" || subject != "" || ada.cookie != "" {
		t.Errorf("the session is back: %q of %q", value, subject)
	}
}

func TestEndAll(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		s := session.New(sharedtest.Open(t, address), keys(t), session.Options{})
		phone, desk, other := &browser{t: t}, &browser{t: t}, &browser{t: t}
		for b, subject := range map[*browser]string{phone: "ada", desk: "ada", other: "bob"} {
			b.must(s, func(s *session.Session) { s.Login(subject) })
		}
		if err := s.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		for b, want := range map[*browser]string{phone: "", desk: "", other: "bob"} {
			if _, subject := b.get(s, "x"); subject != want {
				t.Errorf("%q, want %q", subject, want)
			}
		}
		phone.must(s, func(s *session.Session) { s.Login("ada") })
		if _, subject := phone.get(s, "x"); subject != "ada" {
			t.Error("no new login after the end of all")
		}
	})
}

// Read needs only the head of a request. Of returns the session that it was admitted with.
func TestRead(t *testing.T) {
	t.Parallel()
	s := session.New(sharedtest.Open(t, sharedtest.StateServer(t)), keys(t), session.Options{})
	ada := &browser{t: t}
	ada.must(s, func(s *session.Session) { s.Login("ada") })
	for text, want := range map[string]string{ada.cookie: "ada", "": "", ada.cookie + "x": "", "forged": ""} {
		h := new(fasthttp.RequestHeader)
		h.SetCookie("session", text)
		got, err := s.Read(t.Context(), h)
		if err != nil || got.Subject() != want {
			t.Fatalf("%.8q: %q %v, want %q", text, got.Subject(), err, want)
		}
		admission := got.Admission("value")
		ctx := newRequest()
		ctx.SetUserValue(admission.Key, admission.UserValue)
		if again, err := s.Of(ctx); err != nil || again != got || admission.Value != "value" {
			t.Errorf("%.8q: another session, %v", text, err)
		}
	}
}

// Redis ends a session after its idle time, and at the latest after its lifetime.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		client := sharedtest.Open(t, address)
		s := session.New(client, keys(t), session.Options{Lifetime: 2 * time.Hour, Idle: time.Hour})
		ada := &browser{t: t}
		ada.must(s, func(s *session.Session) { s.Set("a", "1") })
		left := func() time.Duration {
			t.Helper()
			all, err := client.Keys(t.Context(), "gale:session:*").Result()
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			d, err := client.PTTL(t.Context(), all[0]).Result()
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		if d := left(); d > time.Hour || d <= 0 {
			t.Errorf("new: %v left", d)
		}
		all, _ := client.Keys(t.Context(), "gale:session:*").Result()
		if err := client.PExpire(t.Context(), all[0], time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if value, _ := ada.get(s, "a"); value != "1" || left() <= time.Minute {
			t.Errorf("used: %q, %v left", value, left())
		}
		until := fmt.Sprint(time.Now().Add(30 * time.Second).UnixMilli())
		if err := client.HSet(t.Context(), all[0], ".until", until).Err(); err != nil {
			t.Fatal(err)
		}
		if ada.must(s, func(s *session.Session) { s.Set("a", "2") }); left() > 30*time.Second {
			t.Errorf("at the end of its lifetime: %v left", left())
		}
		if err := client.PExpire(t.Context(), all[0], time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "it has expired", func() bool { return client.Exists(t.Context(), all[0]).Val() == 0 })
		if value, _ := ada.get(s, "a"); value != "" {
			t.Errorf("expired: %q", value)
		}
	})
}

func TestSessionFaults(t *testing.T) {
	t.Parallel()
	s := session.New(sharedtest.Open(t, sharedtest.StateServer(t)), keys(t), session.Options{})
	ada := &browser{t: t}
	if err := ada.request(s, func(s *session.Session) { s.Set("a", strings.Repeat("x", session.MaxSize)) }); !errors.Is(err, session.ErrTooLarge) || ada.cookie != "" {
		t.Errorf("too large: %v", err)
	}
	ada.must(s, func(s *session.Session) { s.Set("a", "1") })

	nobody := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer nobody.Close()
	away := session.New(nobody, keys(t), session.Options{})
	if err := ada.request(away, func(*session.Session) { t.Error("a session") }); !errors.Is(err, session.ErrAway) {
		t.Errorf("read: %v", err)
	}
	if err := (&browser{t: t}).request(away, func(s *session.Session) { s.Login("ada") }); !errors.Is(err, session.ErrAway) {
		t.Errorf("write: %v", err)
	}
	if err := away.EndAll(t.Context(), "ada"); !errors.Is(err, session.ErrAway) {
		t.Errorf("end all: %v", err)
	}
	failed := errors.New("the handler failed")
	ctx := newRequest()
	err := s.Middleware(func(ctx *fasthttp.RequestCtx) error {
		got, _ := s.Of(ctx)
		got.Flash("it failed")
		return failed
	})(ctx)
	if !errors.Is(err, failed) || len(ctx.Response.Header.Peek("Set-Cookie")) == 0 {
		t.Errorf("the session of a handler that fails is kept: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name of the package's own is accepted")
		}
	}()
	new(session.Session).Set(".subject", "admin")
}

func newRequest() *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(new(fasthttp.Request), nil, nil)
	return ctx
}

package access

import (
	"errors"
	"maps"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
)

// Each kind of request to a route of an application is admitted or refused as documented.
func TestOwnRoutes(t *testing.T) {
	foreign := map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
	link := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	cookie := func(fields map[string]string) map[string]string {
		with := map[string]string{"Cookie": "user=ada"}
		maps.Copy(with, fields)
		return with
	}
	user := map[string]string{"Authorization": "Bearer ada"}
	token := map[string]string{"Authorization": "Bearer secret"}
	for _, row := range []struct {
		name   string
		token  string
		route  server.Route
		fields map[string]string
		status int    // 0: admitted
		who    string // the identity's subject; - for none, token for the administrator
	}{
		{"a read", "secret", server.Route{Method: "GET"}, nil, 0, "-"},
		{"a read by a page of another origin", "secret", server.Route{Method: "GET"}, foreign, 0, "-"},
		{"a write", "secret", server.Route{Method: "POST"}, nil, 401, ""},
		{"a write by another method", "secret", server.Route{Method: "PURGE"}, nil, 401, ""},
		{"a write with the token", "secret", server.Route{Method: "PUT"}, token, 0, "token"},
		{"a write by a user", "secret", server.Route{Method: "DELETE"}, user, 0, "ada"},
		{"a write without a token set", "", server.Route{Method: "PATCH"}, nil, 0, "-"},
		{"a write by a page of another origin", "", server.Route{Method: "POST"}, foreign, 403, ""},
		{"a GET that writes", "secret", server.Route{Method: "GET", Writes: true}, nil, 401, ""},
		{"a GET that writes, by a page of another origin", "", server.Route{Method: "GET", Writes: true}, foreign, 403, ""},
		{"a public write", "secret", server.Route{Method: "POST", Public: true}, nil, 0, "-"},
		{"a public write by a page of another origin", "secret", server.Route{Method: "POST", Public: true}, foreign, 403, ""},
		{"a public write by a user", "secret", server.Route{Method: "POST", Public: true}, user, 0, "ada"},
		{"a WebSocket", "secret", server.Route{Method: "GET"}, map[string]string{"Upgrade": "websocket", "Origin": "http://shop.example"}, 0, "-"},
		{"a WebSocket by a page of another origin", "", server.Route{Method: "GET"}, map[string]string{"Upgrade": "websocket", "Origin": "https://evil.example"}, 403, ""},
		{"a WebSocket with a subprotocol", "secret", server.Route{Method: "GET"}, map[string]string{"Upgrade": "websocket", "Sec-WebSocket-Protocol": "bearer.ada"}, 0, "ada"},
		{"a cookie", "secret", server.Route{Method: "POST"}, cookie(nil), 0, "ada"},
		{"a cookie with a write by a page of another origin", "secret", server.Route{Method: "POST"}, cookie(foreign), 403, ""},
		{"a cookie with a read by a page of another origin", "secret", server.Route{Method: "GET"}, cookie(foreign), 0, "-"},
		{"a cookie with a followed link", "secret", server.Route{Method: "GET"}, cookie(link), 0, "ada"},
		{"a caller that is refused", "", server.Route{Method: "GET"}, map[string]string{"Authorization": "Bearer nobody"}, 401, ""},
		{"a caller with a status", "", server.Route{Method: "GET", Public: true}, map[string]string{"Authorization": "Bearer late"}, 419, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			calls := 0
			g := New(Options{Token: row.token, Authenticate: func(h *fasthttp.RequestHeader) (*Identity, error) {
				calls++
				return users(h)
			}})
			var h fasthttp.RequestHeader
			h.SetHost("shop.example")
			for name, value := range row.fields {
				h.Set(name, value)
			}
			who, err := g.Protect([]server.Route{row.route})[0].Admit(&h)
			if got := statusOf(err); got != row.status || err != nil && got == 0 {
				t.Fatalf("%v, want status %d", err, row.status)
			}
			if err == nil && nameOf(who) != row.who {
				t.Errorf("admitted %q, want %q", nameOf(who), row.who)
			}
			if calls > 1 {
				t.Errorf("Authenticate was called %d times", calls)
			}
		})
	}
}

// users is the Authenticate function of an application.
func users(h *fasthttp.RequestHeader) (*Identity, error) {
	switch {
	case string(h.Peek("Authorization")) == "Bearer ada":
		return &Identity{Subject: "ada"}, nil
	case string(h.Peek("Authorization")) == "Bearer root":
		return &Identity{Subject: "root", Admin: true}, nil
	case string(h.Peek("Authorization")) == "Bearer nobody":
		return nil, errors.New("wrong password")
	case string(h.Peek("Authorization")) == "Bearer late":
		return nil, server.Fail(419, "sign in again")
	case string(h.Cookie("user")) == "ada":
		return &Identity{Subject: "ada", Cookie: true}, nil
	case string(h.Cookie("user")) == "root":
		return &Identity{Subject: "root", Admin: true, Cookie: true}, nil
	}
	return nil, nil
}

func nameOf(who any) string {
	id, ok := who.(*Identity)
	switch {
	case !ok:
		return "-"
	case id.Subject == "":
		return "token"
	}
	return id.Subject
}

// On the platform's routes, an identity with Admin has the rights of the token, and other
// identities have none.
func TestIdentitiesOnPlatformRoutes(t *testing.T) {
	g := New(Options{Token: "secret", Authenticate: users})
	for _, row := range []struct {
		fields map[string]string
		status int
	}{
		{map[string]string{"Authorization": "Bearer root"}, 0},
		{map[string]string{"Authorization": "Bearer ada"}, 403},
		{map[string]string{"Authorization": "Bearer nobody"}, 401},
		{map[string]string{"Cookie": "user=root"}, 0},
		{map[string]string{"Cookie": "user=root", "Origin": "https://evil.example"}, 403},
		{nil, 401},
	} {
		var h fasthttp.RequestHeader
		h.SetHost("shop.example")
		for name, value := range row.fields {
			h.Set(name, value)
		}
		for what, admit := range map[string]func(*fasthttp.RequestHeader) (any, error){"read": g.Read, "write": g.Write} {
			if _, err := admit(&h); statusOf(err) != row.status {
				t.Errorf("%s with %v: %v, want %d", what, row.fields, err, row.status)
			}
		}
	}
	_, err := g.Read(func() *fasthttp.RequestHeader {
		var h fasthttp.RequestHeader
		h.Set("Authorization", "Bearer nobody")
		return &h
	}())
	if e, ok := errors.AsType[*server.Error](err); !ok || e.Reason != "not authenticated" {
		t.Errorf("the response contains an error of the application: %v", err)
	}
}

// A route's own Admit runs after the guard's, and handlers get its value.
func TestOwnAdmit(t *testing.T) {
	g := New(Options{Token: "secret", Authenticate: users})
	called := false
	admit := g.Protect([]server.Route{{Method: "POST", Admit: func(h *fasthttp.RequestHeader) (any, error) {
		called = true
		if len(h.Peek("X-Tenant")) == 0 {
			return nil, server.Fail(400, "tenant is missing")
		}
		return string(h.Peek("X-Tenant")), nil
	}}})[0].Admit
	var h fasthttp.RequestHeader
	if _, err := admit(&h); statusOf(err) != 401 || called {
		t.Errorf("without a token: %v, called %v", err, called)
	}
	h.Set("Authorization", "Bearer ada")
	if _, err := admit(&h); statusOf(err) != 400 {
		t.Errorf("without a tenant: %v", err)
	}
	h.Set("X-Tenant", "blue")
	if who, err := admit(&h); who != "blue" || err != nil {
		t.Errorf("%v, %v", who, err)
	}
}

// A session makes its subject the sender, unless Authenticate or the token knows the
// sender. The handler gets the session that was read, also of an anonymous sender and
// beside the value of the route's own Admit.
func TestSessionOfASender(t *testing.T) {
	login := new(session.Session)
	login.Login("bob")
	reads := 0
	g := New(Options{Token: "secret", Authenticate: users, Session: func(h *fasthttp.RequestHeader) (*session.Session, error) {
		reads++
		switch string(h.Cookie("session")) {
		case "bob":
			return login, nil
		case "away":
			return nil, server.Fail(503, "sessions are not available")
		}
		return new(session.Session), nil
	}})
	own := func(*fasthttp.RequestHeader) (any, error) { return "own", nil }
	ownSession := func(*fasthttp.RequestHeader) (any, error) { return login.Admission("own"), nil }
	onlySession := func(*fasthttp.RequestHeader) (any, error) { return login.Admission(nil), nil }
	for _, row := range []struct {
		fields map[string]string
		admit  func(*fasthttp.RequestHeader) (any, error)
		status int
		who    string
		reads  int
	}{
		{map[string]string{"Cookie": "session=bob"}, nil, 0, "bob", 1},
		{map[string]string{"Cookie": "session=bob", "Origin": "https://evil.example"}, nil, 0, "-", 1},
		{nil, nil, 0, "-", 1},
		{map[string]string{"Cookie": "session=bob"}, own, 0, "own", 1},
		{map[string]string{"Cookie": "session=bob"}, ownSession, 0, "own", 1},
		{map[string]string{"Cookie": "session=bob"}, onlySession, 0, "bob", 1},
		{map[string]string{"Cookie": "session=away"}, nil, 503, "-", 1},
		{map[string]string{"Cookie": "session=bob", "Authorization": "Bearer ada"}, nil, 0, "ada", 0},
		{map[string]string{"Cookie": "session=bob", "Authorization": "Bearer secret"}, nil, 0, "token", 0},
		{map[string]string{"Cookie": "session=bob", "Authorization": "Bearer nobody"}, nil, 401, "-", 0},
	} {
		var h fasthttp.RequestHeader
		h.SetHost("shop.example")
		for name, value := range row.fields {
			h.Set(name, value)
		}
		reads = 0
		who, err := g.Protect([]server.Route{{Method: "GET", Admit: row.admit}})[0].Admit(&h)
		more, ok := who.(server.Admission)
		if ok {
			who = more.Value
		}
		name := nameOf(who)
		if text, is := who.(string); is {
			name = text
		}
		if statusOf(err) != row.status || name != row.who || reads != row.reads || ok != (row.reads == 1 && err == nil) {
			t.Errorf("%v: %s, %v, %d reads, session %v", row.fields, name, err, reads, ok)
		}
		if ok && (more.Key == nil || (more.UserValue == any(login)) != (string(h.Cookie("session")) == "bob")) {
			t.Errorf("%v: the session of another client", row.fields)
		}
	}
}

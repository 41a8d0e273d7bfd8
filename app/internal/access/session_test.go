package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

func TestSessions(t *testing.T) {
	now := time.Now()
	ours, sibling, others := newSessions("the token"), newSessions("the token"), newSessions("another token")
	s := ours.create(now.Add(time.Hour))
	parts := strings.Split(s, ".")
	if len(parts) != 3 || strings.Contains(s, "token") {
		t.Fatalf("session %q", s)
	}
	if s == ours.create(now.Add(time.Hour)) {
		t.Error("two sessions are the same")
	}
	for _, row := range []struct {
		name    string
		by      sessions
		session string
		now     time.Time
		want    bool
	}{
		{"created here", ours, s, now, true},
		{"created by another process", sibling, s, now, true},
		{"another token", others, s, now, false},
		{"expired", ours, s, now.Add(time.Hour + time.Second), false},
		{"a later time", ours, "9" + s, now, false},
		{"another nonce", ours, parts[0] + ".x." + parts[2], now, false},
		{"no code", ours, parts[0] + "." + parts[1], now, false},
		{"empty code", ours, parts[0] + "." + parts[1] + ".", now, false},
		{"empty", ours, "", now, false},
		{"dots", ours, "..", now, false},
		{"no key", sessions{}, sessions{}.create(now.Add(time.Hour)), now, false},
	} {
		if got := row.by.valid(row.session, row.now); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

// A browser sends cookies with requests of any page. A session is therefore only accepted
// for pages of this server and of allowed origins, and never together with a wrong token.
func TestSessionOrigins(t *testing.T) {
	origins, err := server.ParseOrigins([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	a := New(Options{Token: "secret", Origins: origins})
	s := a.sessions.create(time.Now().Add(time.Hour))
	for _, row := range []struct {
		name   string
		fields map[string]string
		want   int
	}{
		{"this origin", map[string]string{"Sec-Fetch-Site": "same-origin"}, 0},
		{"typed into the address bar", map[string]string{"Sec-Fetch-Site": "none"}, 0},
		{"another port", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9"}, 403},
		{"another port, and no Origin", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another site", map[string]string{"Origin": "http://evil.example"}, 403},
		{"an allowed origin", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, 0},
		{"with a wrong token", map[string]string{"Authorization": "Bearer wrong"}, 401},
		{"the token", map[string]string{"Authorization": "Bearer secret", "Cookie": ""}, 0},
		{"a forged session", map[string]string{"Cookie": sessionCookie + "=" + s + "x"}, 401},
		{"none", map[string]string{"Cookie": ""}, 401},
	} {
		var h fasthttp.RequestHeader
		h.SetHost("127.0.0.1:8888")
		if _, given := row.fields["Cookie"]; !given {
			h.Set("Cookie", sessionCookie+"="+s)
		}
		for name, value := range row.fields {
			h.Set(name, value)
		}
		for what, admit := range map[string]func(*fasthttp.RequestHeader) (any, error){"read": a.Read, "write": a.Write} {
			_, err := admit(&h)
			if got := statusOf(err); got != row.want {
				t.Errorf("%s, %s: %d, want %d", row.name, what, got, row.want)
			}
		}
	}
}

// statusOf returns the status of a refused request, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*server.Error](err); ok {
		return e.Status
	}
	return 0
}

package access

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// Upload admits whom it should, and tells the handler who that is.
func TestUpload(t *testing.T) {
	for _, row := range []struct {
		name   string
		token  string
		open   bool
		fields [2]string
		status int    // 0: admitted
		who    string // as in TestOwnRoutes
	}{
		{"anonymous", "", true, [2]string{}, 0, "-"},
		{"anonymous with a token set", "secret", true, [2]string{}, 401, ""},
		{"a user", "", false, [2]string{"Authorization", "Bearer ada"}, 0, "ada"},
		{"a user with a token set", "secret", false, [2]string{"Authorization", "Bearer ada"}, 403, ""},
		{"a user who may upload", "secret", true, [2]string{"Authorization", "Bearer ada"}, 0, "ada"},
		{"a cookie", "secret", true, [2]string{"Cookie", "user=ada"}, 0, "ada"},
		{"the administrator", "secret", false, [2]string{"Authorization", "Bearer secret"}, 0, "token"},
		{"a wrong user", "", true, [2]string{"Authorization", "Bearer nobody"}, 401, ""},
		{"a page of another origin", "", true, [2]string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := New(Options{Token: row.token, Authenticate: users})
			var h fasthttp.RequestHeader
			h.SetHost("shop.example")
			if row.fields[0] != "" {
				h.Set(row.fields[0], row.fields[1])
			}
			value, err := g.Upload(row.open)(&h)
			if got := statusOf(err); got != row.status || err != nil && got == 0 {
				t.Fatalf("%v, want status %d", err, row.status)
			}
			who := "-"
			if id, _ := valueOf(value).(*Identity); id != nil {
				who = id.Subject
				if id.Admin {
					who = "token"
				}
			}
			if err == nil && who != row.who {
				t.Errorf("admitted %q, want %q", who, row.who)
			}
		})
	}
}

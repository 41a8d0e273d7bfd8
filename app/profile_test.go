package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/galeserver/gale/app/internal/config"
)

// Without a token, profiles are served to local programs only, and not to requests that
// a web page of another site has sent.
func TestWhoMayProfile(t *testing.T) {
	for _, row := range []struct {
		c          config.Config
		host, site string
		bearer     string
		code       int
	}{
		{config.Config{}, "127.0.0.1:9888", "", "", 403},
		{config.Config{Pprof: true}, "127.0.0.1:9888", "", "", 0},
		{config.Config{Pprof: true}, "[::1]:9888", "", "", 0},
		{config.Config{Pprof: true}, "localhost", "none", "", 0},
		{config.Config{Pprof: true}, "localhost:9888", "same-origin", "", 0},
		{config.Config{Pprof: true}, "localhost:9888", "cross-site", "", 403},
		{config.Config{Pprof: true}, "rebound.example:9888", "same-origin", "", 403},
		{config.Config{Pprof: true}, "", "", "", 403},
		{config.Config{Pprof: true, Admin: "unix:/run/gale"}, "gale", "", "", 0},
		{config.Config{Pprof: true, Token: "t"}, "127.0.0.1:9888", "", "", 401},
		{config.Config{Token: "t"}, "gale.example:9888", "", "t", 0},
	} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/master/heap", nil)
		r.Host = row.host
		r.Header.Set("Sec-Fetch-Site", row.site)
		r.Header.Set("Authorization", "Bearer "+row.bearer)
		if code, reason := mayProfile(row.c)(r); code != row.code {
			t.Errorf("%s, %q: %d %s, want %d", row.host, row.site, code, reason, row.code)
		}
	}
}

package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What server status -ready makes of an answer, which is what a health check
// goes by.
func TestReady(t *testing.T) {
	for _, c := range []struct {
		code       int
		body, want string // empty: ready
	}{
		{http.StatusOK, `{"ready":true}`, ""},
		{http.StatusServiceUnavailable, `{"ready":false,"reasons":["serve.0 is booting","worker.0 is backoff"]}`, "not ready: serve.0 is booting; worker.0 is backoff"},
		{http.StatusServiceUnavailable, `<html>try again</html>`, "does not speak like a server: it answers 503"},
		{http.StatusNotFound, `{"code":404}`, "does not speak like a server: it answers 404"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.body))
		}))
		var said strings.Builder
		err := ready(t.Context(), &said, s.Listener.Addr().String())
		s.Close()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d %s: %v, want %q", c.code, c.body, err, c.want)
		}
		if (said.String() == "ready\n") != (c.want == "") {
			t.Errorf("%d %s: says %q", c.code, c.body, said.String())
		}
	}
}

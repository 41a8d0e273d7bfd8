package app

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/app/internal/config"
)

// status -ready succeeds or fails as /readyz says, which health checks rely on.
func TestReady(t *testing.T) {
	for _, c := range []struct {
		code       int
		body, want string // empty: ready
	}{
		{http.StatusOK, `{"ready":true}`, ""},
		{http.StatusServiceUnavailable, `{"ready":false,"reasons":["serve.0 is booting","worker.0 is backoff"]}`, "not ready: serve.0 is booting; worker.0 is backoff"},
		{http.StatusServiceUnavailable, `<html>try again</html>`, "is not the admin endpoint of a server: /readyz returned status 503"},
		{http.StatusNotFound, `{"code":404}`, "is not the admin endpoint of a server: /readyz returned status 404"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("requested %s", r.URL)
			}
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.body))
		}))
		var out strings.Builder
		err := ready(t.Context(), &out, s.Listener.Addr().String())
		s.Close()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d %s: %v, want %q", c.code, c.body, err, c.want)
		}
		if (out.String() == "ready\n") != (c.want == "") {
			t.Errorf("%d %s: printed %q", c.code, c.body, out.String())
		}
	}
}

// The help text describes all commands and subcommands, and no others.
func TestHelpDescribesEveryCommand(t *testing.T) {
	for _, v := range config.Verbs() {
		e := env{program: &config.Program{}, args: []string{"-h"}, stdout: io.Discard, stderr: io.Discard}
		if _, unknown := errors.AsType[usageError](dispatch(t.Context(), v.Name, e)); unknown {
			t.Errorf("the help text has command %s, which is unknown", v.Name)
		}
		forms := strings.Join(v.Synopsis, "\n")
		for _, word := range v.Arguments {
			if !strings.Contains(forms, word) {
				t.Errorf("%s %s is not in %q", v.Name, word, forms)
			}
		}
		if v.Name != string(config.Tasks) {
			continue
		}
		words := slices.Sorted(slices.Values(v.Arguments))
		if there := slices.Sorted(maps.Keys(tasksVerbs)); !slices.Equal(words, there) {
			t.Errorf("the help text has tasks %q, the command has %q", words, there)
		}
	}
}

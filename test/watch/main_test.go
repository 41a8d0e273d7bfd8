package watch_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/test/harness"
)

// asServer is the environment variable that makes the test binary run the application
// instead of the tests. The name does not begin with GALE_, because the embedded state
// server does not inherit such variables: its process would run the tests.
const asServer = "TEST_WATCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		app.Main(app.Application{Name: "site", Routes: func(s *app.Services) ([]server.Route, error) {
			return []server.Route{{Method: "GET", Path: "/", Handler: func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'")
				return s.Templates.Render(ctx, fasthttp.StatusOK, "index.html", nil)
			}}}, nil
		}})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// site starts the application with -watch, two processes and a page with a style sheet. It
// returns the folder of its templates, of its static files and of its binary.
func site(t *testing.T) (g *harness.Server, dir string) {
	t.Helper()
	dir = t.TempDir()
	put(t, filepath.Join(dir, "templates/_layout.html"), `<!DOCTYPE html><html><head><title>x</title><link rel="icon" href="data:,"><link rel="stylesheet" href="{{static_url "site.css"}}"></head><body>{{template "content"}}</body></html>`)
	put(t, filepath.Join(dir, "templates/index.html"), content("first"))
	put(t, filepath.Join(dir, "static/site.css"), "h1 { color: rgb(1, 2, 3); }")
	install(t, dir)
	cmd := exec.Command(filepath.Join(dir, "server"), harness.OnFreePorts([]string{"-watch", "-procs", "2", "-templates", "templates", "-static", "static"})...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asServer+"=1")
	g, err := harness.LaunchAs(cmd)
	return harness.MustStart(t, g, err), dir
}

// content returns the template of a page with a heading.
func content(heading string) string {
	return `{{define "content"}}<h1>` + heading + `</h1>{{end}}{{template "_layout.html" .}}`
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// install puts the test binary into dir as server, by a rename as installers do.
func install(t *testing.T, dir string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "server.new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Rename(to.Name(), filepath.Join(dir, "server"))); err != nil {
		t.Fatal(err)
	}
}

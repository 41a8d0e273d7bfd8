// Package openapi validates the description of the HTTP routes, and the responses of a
// running server by it. It is a module of its own, so that the validator's dependencies
// do not become those of Gale.
package openapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// secret is the token of the servers here.
const secret = "a-token-of-more-than-16-bytes"

// order is the input of the application's task.
type order struct {
	Customer string `json:"customer"`
}

// shop has a route of every kind that the description has to deal with.
func shop(p app.Platform) app.Application {
	respond := func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, fasthttp.StatusOK, "hello")
		return nil
	}
	printing := jobs.Define("print", func(ctx context.Context, job *jobs.Job, in order) (string, error) {
		switch in.Customer {
		case "waits":
			<-ctx.Done()
			return "", context.Cause(ctx)
		case "fails":
			return "", jobs.NoRetry(os.ErrInvalid)
		}
		file, err := job.Artifact("receipt.txt")
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(file, "printed"); err != nil {
			return "", err
		}
		return "printed for " + in.Customer, file.Close()
	})
	nightly := jobs.Define("nightly", func(context.Context, *jobs.Job, struct{}) (string, error) { return "done", nil })
	return app.Application{
		Name: "shop", Version: "1.2.3", Tasks: []jobs.Definition{printing.Definition(), nightly.Definition()}, Platform: p,
		Schedules: []app.Schedule{{Task: "nightly", At: "@yearly"}},
		Routes: func(*app.Services) ([]server.Route, error) {
			return []server.Route{
				{Method: "GET", Path: "/", Handler: respond},
				{Method: "GET", Path: "/hello/{name:[a-z]+}", Handler: respond},
				{Method: "POST", Path: "/hello/{who}", Handler: respond},
				{Method: "POST", Path: "/contact", Public: true, Handler: respond},
				{Method: "GET", Path: "/buy", Writes: true, Handler: respond},
				{Method: "GET", Path: "/files/{path:*}", Handler: respond},
				{Method: "PURGE", Path: "/cache", Handler: respond},
			}, nil
		},
	}
}

// startShop starts the application with a token and a folder of static files.
func startShop(t *testing.T, p app.Platform, flags ...string) *apptest.Server {
	t.Helper()
	folder := t.TempDir()
	token := filepath.Join(folder, "token")
	static := filepath.Join(folder, "static")
	for name, text := range map[string]string{token: secret, filepath.Join(static, "css", "a.css"): "body{}"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return apptest.Start(t, shop(p), append([]string{"-token-file", token, "-static", static}, flags...)...)
}

// request sends a request, with the token unless fields have an Authorization.
func request(t *testing.T, s *apptest.Server, method, path, body string, fields ...string) (*http.Request, *http.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return req, resp
}

// fetch returns the description of a server, and a validator of it.
func fetch(t *testing.T, s *apptest.Server, path string) (text []byte, v validator.Validator) {
	t.Helper()
	_, resp := request(t, s, http.MethodGet, path, "")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %v %s, %v", path, resp.StatusCode, resp.Header, text, err)
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, faults := validator.NewValidator(doc, config.WithFormatAssertions())
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return text, v
}

// document is what the tests here read of a description.
type document struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Servers []struct{ URL string }
	Tags    []struct{ Name string }
	Paths   map[string]map[string]operation
}

type operation struct {
	OperationID string
	Tags        []string
	Description string
	Parameters  []struct{ Name, In, Description string }
	Responses   map[string]any
	Security    []map[string]any
}

func decode(t *testing.T, text []byte) (d document) {
	t.Helper()
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The description is a valid document, wherever the routes are and whichever are on.
func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]app.Platform{
		"all": {}, "prefix": {Prefix: "/-"}, "few": {Off: []string{"uploads", "tus", "tasks", "workers", "channels", "console", "static"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, v := fetch(t, startShop(t, p), p.Prefix+"/openapi.json")
			if valid, faults := v.ValidateDocument(); !valid {
				for _, f := range faults {
					t.Error(f.Error())
				}
			}
			d := decode(t, text)
			if d.OpenAPI != "3.1.1" || d.Info.Title != "shop" || d.Info.Version != "1.2.3" || len(d.Servers) != 1 || d.Servers[0].URL != "/" {
				t.Errorf("%.400s", text)
			}
			health, moved := d.Paths["/healthz"], d.Paths[p.Prefix+"/openapi.json"]
			if health["get"].OperationID != "health" || moved["get"].OperationID != "describe" {
				t.Errorf("no operations of /healthz and %s/openapi.json", p.Prefix)
			}
			if _, on := d.Paths[p.Prefix+"/tasks"]; on == slices.Contains(p.Off, "tasks") {
				t.Errorf("/tasks is described: %v", on)
			}
			if strings.Contains(string(text), `"Task"`) == slices.Contains(p.Off, "tasks") {
				t.Error("schemas are not those of the groups that are on")
			}
		})
	}
}

// Routes of the application have its tag, and need what the guard wants of them.
func TestDocumentHasOwnRoutes(t *testing.T) {
	t.Parallel()
	text, _ := fetch(t, startShop(t, app.Platform{}), "/openapi.json")
	d := decode(t, text)
	schemes := func(path, method string) (names string) {
		op, ok := d.Paths[path][method]
		if !ok || !slices.Equal(op.Tags, []string{"shop"}) {
			t.Errorf("%s %s: %+v", method, path, op)
		}
		for _, each := range op.Security {
			for name := range each {
				names += name + " "
			}
		}
		return names
	}
	for _, row := range []struct{ path, method, want string }{
		{"/", "get", ""}, {"/hello/{name}", "get", ""}, {"/hello/{name}", "post", "token session subprotocol "},
		{"/contact", "post", ""}, {"/buy", "get", "token session subprotocol "}, {"/files/{path}", "get", ""},
	} {
		if got := schemes(row.path, row.method); got != row.want {
			t.Errorf("%s %s: %q, want %q", row.method, row.path, got, row.want)
		}
	}
	hello := d.Paths["/hello/{name}"]["get"]
	if len(hello.Parameters) != 1 || !strings.Contains(hello.Parameters[0].Description, "[a-z]+") {
		t.Errorf("%+v", hello)
	}
	if _, known := d.Paths["/cache"]; known {
		t.Error("a method is described that OpenAPI has no place for")
	}
	if !slices.ContainsFunc(d.Tags, func(tag struct{ Name string }) bool { return tag.Name == "shop" }) {
		t.Errorf("tags: %v", d.Tags)
	}
}

// The description is guarded, kept by browsers, and names the address behind a proxy.
func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	s := startShop(t, app.Platform{}, "-base-path", "/gale")
	text, _ := fetch(t, s, "/gale/openapi.json")
	if url := decode(t, text).Servers[0].URL; url != "/gale" {
		t.Errorf("address with a base path: %q", url)
	}
	_, resp := request(t, s, http.MethodHead, "/openapi.json", "")
	etag := resp.Header.Get("ETag")
	if resp.StatusCode != http.StatusOK || etag == "" || resp.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	for _, row := range []struct {
		field string
		want  int
	}{{"If-None-Match: " + etag, http.StatusNotModified}, {`If-None-Match: "another"`, http.StatusOK}, {"Authorization: ", http.StatusUnauthorized}} {
		if _, resp := request(t, s, http.MethodGet, "/openapi.json", "", row.field); resp.StatusCode != row.want {
			t.Errorf("%s: %d, want %d", row.field, resp.StatusCode, row.want)
		}
	}
	_, resp = request(t, s, http.MethodGet, "/openapi.json", "", "X-Forwarded-Prefix: /shop")
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if url := decode(t, text).Servers[0].URL; url != "/shop" || resp.Header.Get("ETag") == etag {
		t.Errorf("address behind a proxy: %q, with the ETag of another: %v", url, resp.Header.Get("ETag") == etag)
	}
	off := startShop(t, app.Platform{Off: []string{"openapi"}})
	if _, resp := request(t, off, http.MethodGet, "/openapi.json", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("switched off: %d", resp.StatusCode)
	}
}

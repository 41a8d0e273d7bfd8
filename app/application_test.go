package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/limit"
)

// An application that uses all fields serves its routes with access control and runs its
// tasks with the flags of the master.
func TestApplication(t *testing.T) {
	t.Parallel()
	url, _, log := start(t, []string{"SHOP_GREETING=Salut", "GALE_TOKEN=s3cret"}, "-page-limit", "7")
	for _, row := range []struct {
		method, path string
		fields       []string
		status       int
		body         string
	}{
		{"GET", "/hello/ada", nil, 200, "Salut, ada from nobody"},
		{"GET", "/hello/ada", []string{"X-User: bob"}, 200, "Salut, ada from bob"},
		{"GET", "/healthz", nil, 200, "ok\n"},
		{"GET", "/anything/else", nil, 200, "page anything/else"},
		{"GET", "/static/a.css", nil, 200, "page static/a.css"},
		{"POST", "/orders", nil, 401, ""},
		{"POST", "/orders", []string{"Authorization: Bearer s3cret", "Origin: https://evil.example"}, 403, ""},
		{"GET", "/-/tasks", nil, 401, ""},
		{"GET", "/-/tasks", []string{"X-User: bob"}, 403, ""},
		{"GET", "/tasks", nil, 200, "page tasks"},
	} {
		status, header, body := send(t, row.method, url+row.path, row.fields...)
		if status != row.status || row.body != "" && body != row.body {
			t.Errorf("%s %s %v: %d %q", row.method, row.path, row.fields, status, body)
		}
		if header.Get("Content-Security-Policy") != "default-src 'self'" || header.Get("X-Frame-Options") != "SAMEORIGIN" {
			t.Errorf("%s %s: %v", row.method, row.path, header)
		}
		handled := status == 200 && row.path != "/healthz"
		if (header.Get("X-Shop") != "") != handled {
			t.Errorf("%s %s: middleware ran: %v", row.method, row.path, !handled)
		}
	}
	status, _, body := send(t, "POST", url+"/orders", "X-User: bob")
	var task jobs.Task
	if err := json.Unmarshal([]byte(body), &task); err != nil || status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	_, _, body = send(t, "GET", url+"/-/tasks/"+task.ID+"?wait=60s", "Authorization: Bearer s3cret")
	if !strings.Contains(body, `"result":"Salut 7 an order"`) {
		t.Errorf("task: %s", body)
	}
	status, header, _ := send(t, "GET", url+"/-/console")
	if status != 303 || header.Get("Location") != "/-/console/login" {
		t.Errorf("console: %d %v", status, header)
	}
	_, header, _ = send(t, "GET", url+"/-/console/login")
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "default-src 'self'") {
		t.Errorf("policy of the console: %q", policy)
	}
	status, header, body = send(t, "POST", url+"/-/tus/", "Authorization: Bearer s3cret", "Tus-Resumable: 1.0.0", "Upload-Length: 3", "Upload-Metadata: filename YQ==")
	if status != 201 || !strings.HasPrefix(header.Get("Location"), "/-/tus/") {
		t.Errorf("tus: %d %v %s", status, header, body)
	}
	awaitLog(t, log, "shop is open")
}

// A reload is refused if Routes fails, and the server keeps running. A valid reload
// changes the application's own flags.
func TestReloadOfAnApplication(t *testing.T) {
	t.Parallel()
	conf := t.TempDir() + "/conf"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("greeting Hi\n")
	url, master, log := start(t, nil, "-config", conf)
	write("greeting Salut\nfail routes\n")
	if err := master.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "the shelf is empty")
	if _, _, body := send(t, "GET", url+"/hello/ada"); body != "Hi, ada from nobody" {
		t.Errorf("after a reload that was refused: %q", body)
	}
	write("greeting Salut\n")
	if err := master.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "msg=reloaded")
	testutil.Eventually(t, "the new greeting", func() bool { // the old process may still accept connections
		_, _, body := send(t, "GET", url+"/hello/ada")
		return body == "Salut, ada from nobody"
	})
}

// An error of Start ends the process and is logged.
func TestStartFails(t *testing.T) {
	t.Parallel()
	_, _, log := start(t, nil, "-fail", "start")
	awaitLog(t, log, "background work of shop: the door is stuck")
}

// The commands check and serve report every kind of fault and create no files.
func TestFaults(t *testing.T) {
	t.Chdir(t.TempDir())
	noop := func(*fasthttp.RequestCtx) error { return nil }
	route := func(method, path string) func(*Services) ([]server.Route, error) {
		return func(*Services) ([]server.Route, error) {
			return []server.Route{{Method: method, Path: path, Handler: noop}}, nil
		}
	}
	for name, row := range map[string]struct {
		change func(*Application)
		args   []string
		want   []string
	}{
		"values":             {func(*Application) {}, []string{"-page-limit", "0", "-port", "x"}, []string{"-page-limit: 0 is less than 1", `-port: "x"`}},
		"wrong form":         {func(*Application) {}, []string{"-page-limit", "many"}, []string{`-page-limit: "many" is not valid: wrong syntax`}},
		"name of Gale's":     {func(a *Application) { a.Flags = func(f *flag.FlagSet) { f.Int("port", 1, "") } }, nil, []string{"-port: a flag of shop has the same name as one of Gale's flags"}},
		"variable of Gale's": {func(a *Application) { a.Name, a.Flags = "gale-max", func(f *flag.FlagSet) { f.Int("body", 1, "") } }, nil, []string{"variable GALE_MAX_BODY of this flag of gale-max is used by Gale"}},
		"name":               {func(a *Application) { a.Name = "My Shop" }, nil, []string{`application name "My Shop"`}},
		"clash":              {func(a *Application) { a.Platform, a.Routes = Platform{}, route("GET", "/tasks/mine") }, nil, []string{"GET /tasks/mine of shop clashes with GET /tasks/{id} of Gale"}},
		"clash of /healthz":  {func(a *Application) { a.Routes = route("GET", "/{name}") }, nil, []string{"GET /{name} of shop clashes with GET /healthz of Gale"}},
		"twice":              {func(a *Application) { a.Routes = twice(noop) }, nil, []string{"/a/{y}"}},
		"error":              {func(a *Application) { a.Routes = failing }, nil, []string{"routes of shop: services are offline"}},
		"base path":          {func(a *Application) { a.Routes = route("GET", "/gale/x") }, []string{"-base-path", "/gale"}, []string{"-base-path: "}},
		"prefix and groups":  {func(a *Application) { a.Platform = Platform{Prefix: "x", Off: []string{"moon"}} }, nil, []string{"platform prefix: ", `platform off: "moon" is not one of: uploads`}},
		"schedules": {func(a *Application) {
			a.Schedules = append(a.Schedules, Schedule{Task: "keep", At: "@every 10m", Args: []any{"x"}}, Schedule{Task: "moon", At: "@every 10m"}, Schedule{Task: "keep", At: "never"})
		}, nil, []string{"schedule of keep: the task has two schedules", "schedule of moon: unknown task"}},
		"arguments of a schedule": {func(a *Application) { a.Schedules = []Schedule{{Task: "keep", At: "@every 10m"}} }, nil, []string{"schedule of keep: wrong arguments"}},
		"tasks":                   {func(a *Application) { a.Schedules, a.Tasks = nil, append(a.Tasks, a.Tasks[0]) }, nil, []string{`register task "keep"`}},
		"header":                  {func(a *Application) { a.Header = [][2]string{{"Vary", "Origin"}, {"X A", "x"}} }, nil, []string{`header field "Vary": depends on the single response`, `header field "X A": not the name`}},
		"upload task":             {func(a *Application) { a.UploadTasks = []UploadTask{{Name: "moon"}} }, nil, []string{"upload task moon: no such task"}},
	} {
		a := shop()
		row.change(&a)
		for _, verb := range []string{"check", "serve"} {
			_, _, err := run(t, a, nil, append([]string{verb}, row.args...)...)
			for _, want := range row.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %s: %v, want %q", name, verb, err, want)
				}
			}
			a = shop() // an application runs once: its flags are declared once per process
			row.change(&a)
		}
	}
	if found, err := os.ReadDir("."); err != nil || len(found) > 0 {
		t.Errorf("left behind: %v %v", found, err)
	}
}

func twice(h server.Handler) func(*Services) ([]server.Route, error) {
	return func(*Services) ([]server.Route, error) {
		return []server.Route{{Method: "GET", Path: "/a/{x}", Handler: h}, {Method: "GET", Path: "/a/{y}", Handler: h}}, nil
	}
}

// failing fails with ErrOffline, after all other services have done so.
func failing(s *Services) ([]server.Route, error) {
	if _, _, err := s.Tasks.Enqueue(context.Background(), jobs.NewTask{Name: "keep", Args: []byte(`["x"]`)}); !errors.Is(err, ErrOffline) {
		return nil, err
	}
	if _, err := s.Limit(limit.Options{}).Take(context.Background(), "x"); !errors.Is(err, ErrOffline) {
		return nil, err
	}
	if _, err := s.Channels.Publish(context.Background(), "x", nil); !errors.Is(err, ErrOffline) {
		return nil, err
	}
	if _, err := s.Uploads.Open("a", "b"); !errors.Is(err, ErrOffline) {
		return nil, err
	}
	return nil, s.Pool.Do(context.Background(), nil)
}

// Version, help and errors use the name of the application.
func TestNamesAndVersions(t *testing.T) {
	out, _, err := run(t, shop(), nil, "version")
	if err != nil || !strings.HasPrefix(out, "shop v1.2.3, gale ") {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = run(t, shop(), nil, "help")
	for _, want := range []string{"shop: an application on Gale", "  shop worker [flags]", "flags of shop serve:", "-page-limit", "SHOP_NAME", "(default \"Hello\")"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("help has no %q: %v\n%.900s", want, err, out)
		}
	}
	_, _, err = run(t, shop(), nil, "explode")
	if err == nil || !strings.Contains(err.Error(), "shop help") {
		t.Error(err)
	}
}

// Every command accepts the application's own flags in the file and the environment.
func TestOwnFlagsEverywhere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("conf", []byte("greeting Moin\npage-limit 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"SHOP_GREETING=Salut", "SHOP_PAGE_LIMIT=4"}
	if out, _, err := run(t, shop(), environ, "check", "-config", "conf"); err != nil || !strings.Contains(out, "is sound") {
		t.Errorf("check: %q %v", out, err)
	}
	if out, _, err := run(t, shop(), environ, "tasks", "schedules", "-config", "conf", "-json"); err != nil || !strings.Contains(out, `"task":"keep"`) {
		t.Errorf("tasks: %q %v", out, err)
	}
	if _, _, err := run(t, shop(), environ, "status", "-admin", "unix:none"); err == nil || strings.Contains(err.Error(), "configuration") {
		t.Errorf("status: %v", err)
	}
}

// The embedded state server gets no secrets of other roles; serve and worker slots get
// the complete configuration.
func TestConfigurationOfARole(t *testing.T) {
	settings := []byte(`{"Token":"s3cret","Store":{"Address":"127.0.0.1:1","Password":"own"}}`)
	if got := string(configFor(roleStore, settings)); strings.Contains(got, "s3cret") || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("the state server gets %s", got)
	}
	for _, role := range []string{roleServe, roleWorker} {
		if got := configFor(role, settings); string(got) != string(settings) {
			t.Errorf("%s gets %s", role, got)
		}
	}
}

// The embedded state server has no token in its environment either; what is not Gale's it
// inherits as all do.
func TestEnvironmentOfChildren(t *testing.T) {
	t.Parallel()
	_, _, log := start(t, []string{"GALE_TOKEN=s3cret", "SHOP_GREETING=Salut"})
	for slot, hasToken := range map[string]bool{"store.0": false, "serve.0": true} {
		ready := regexp.MustCompile(`msg="child ready" slot=` + slot + ` pid=(\d+)`)
		var pid string
		testutil.Eventually(t, "the log has its pid", func() bool {
			found := ready.FindStringSubmatch(log())
			if found != nil {
				pid = found[1]
			}
			return found != nil
		})
		environ, err := os.ReadFile("/proc/" + pid + "/environ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(environ), "s3cret") != hasToken || !strings.Contains(string(environ), "SHOP_GREETING=Salut") {
			t.Errorf("%s has the token: %v; want %v", slot, !hasToken, hasToken)
		}
	}
}

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors is the import policy: a package may import only packages of lower floors,
// never one of the same floor. Add a line for a new package. Moving a package needs a
// decision record.
var floors = map[string]int{
	"pool":                   0,
	"internal/utf8text":      0,
	"internal/byterange":     0,
	"internal/contentcoding": 0,
	"internal/sleep":         0,
	"internal/clockset":      0,
	"internal/epoll":         0,
	"internal/tracing":       0,
	"internal/typed":         0,
	"internal/jsonschema":    0,
	"internal/redistest":     0,
	"internal/s3test":        2,
	"internal/otlptest":      2,
	"internal/testutil":      0,
	"internal/redisdb":       2,
	"internal/redislock":     4,
	"internal/channelscript": 3,
	"internal/stateserver":   4,
	"internal/sharedtest":    5,

	"server":     10,
	"jobs/meter": 5,
	"jobs":       10,
	"uploads":    10,
	"prefork":    10,

	"server/cookie":       20,
	"server/session":      22,
	"server/upgrade":      15, // every package with WebSockets imports it
	"server/cache":        20,
	"server/limit":        20,
	"server/middleware":   22,
	"server/realtime":     20,
	"server/static":       20,
	"server/templates":    20,
	"server/uploadsocket": 20,
	"jobs/driver":         12, // interfaces for authors of stores and workers
	"jobs/artifacts":      14,
	"internal/tasktrace":  14,

	"jobs/artifacts/artifactstest": 20,

	"jobs/schedule":       14,
	"jobs/machinery":      20,
	"jobs/celery":         20,
	"jobs/workerapi":      20,
	"jobs/sqlite":         20,
	"jobs/redisstream":    20,
	"jobs/jobstest":       20,
	"uploads/tus":         20,
	"uploads/uploadstest": 20,
	"uploads/tus/tustest": 22,
	"uploads/s3":          22, // implements an interface of uploads/tus
	"uploads/quota":       20,

	"demo/upstream": 20,
	"demo/inspect":  28,
	"demo":          35,

	"internal/duration":        0,
	"internal/quantile":        0,
	"internal/bytesize":        0,
	"app/internal/process":     20,
	"app/internal/program":     23,
	"app/internal/command":     25,
	"app/internal/uploadhook":  25,
	"app/internal/watch":       25,
	"app/internal/place":       25,
	"app/internal/filewatch":   20,
	"app/internal/access":      25,
	"app/internal/backup":      25,
	"app/internal/statsd":      25,
	"app/internal/debugbundle": 25,
	"app/internal/logtail":     20,
	"app/internal/console":     27, // app/internal/routes imports it
	"app/internal/openapi":     25,
	"app/internal/config":      28,
	"app/internal/metrics":     28,
	"app/internal/routes":      28,
	"app/internal/manual":      29,
	"app":                      30,
	"app/apptest":              32,
	"app/internal/reference":   50,
	"app/internal/dist":        50,
	"app/internal/otlp":        20,
	"app/internal/top":         25,
	"app/internal/history":     25,

	"": 40, // main.go

	"test/harness/clockstep":  45,
	"test/harness":            50,
	"test/clock":              60,
	"test/attack":             60,
	"test/chaos":              60,
	"test/console":            60,
	"test/deploy":             60,
	"test/http":               60,
	"test/middleware":         60,
	"test/processes":          60,
	"test/programs":           60,
	"test/proxies":            60,
	"test/python":             60,
	"test/realtime":           60,
	"test/scripts":            60,
	"test/storage":            60,
	"test/tasks":              60,
	"test/torture":            60,
	"test/soak":               60,
	"test/powerloss":          60,
	"test/trace":              60,
	"test/tus":                60,
	"test/uploads":            60,
	"test/importing":          60,
	"test/upgrade":            60,
	"test/watch":              60,
	"docs/example/small":      50,
	"docs/example/chat":       50,
	"docs/example/longpoll":   50,
	"docs/example/fileupload": 50,
	"docs/example/blog":       50,
	"docs/example/shop":       50,
	"test/examples":           60,
	"bench/faults":            50,
	"bench/cost":              50,
	"bench/uploads":           50,
	"bench/console":           50,
	"bench/footprint":         50,
	"bench/idle":              50,
	"bench/sockets":           50,
	"bench/centrifugo":        0,
	"bench/process":           0,
	"bench/figure":            0,
}

// banned are packages of other modules and of the standard library that a package must
// not import.
var banned = map[string][]string{
	"prefork":     {"net/http", "github.com/valyala/fasthttp", "flag"},
	"jobs":        {"net/http", "github.com/valyala/fasthttp", "flag"},
	"uploads":     {"net/http/httputil", "github.com/valyala/fasthttp", "flag"},
	"uploads/tus": {"github.com/valyala/fasthttp", "flag"},
	"server":      {"flag"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Module     struct{ Path string }
}

// within returns the path of a package in this module: "jobs", or "" for the root.
func (p goPackage) within(path string) (place string, ok bool) {
	if path == p.Module.Path {
		return "", true
	}
	return strings.CutPrefix(path, p.Module.Path+"/")
}

func modulePackages(t *testing.T) (all []goPackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Module", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// private reports whether place is an example that imports an internal package. An
// application in another module could not do that.
func private(place, target string) bool {
	example := place == "" || strings.HasPrefix(place, "demo") || strings.HasPrefix(place, "docs/example")
	return example && slices.Contains(strings.Split(target, "/"), "internal")
}

func TestPrivate(t *testing.T) {
	for place, row := range map[string]struct {
		target string
		want   bool
	}{
		"demo": {"internal/redisdb", true}, "docs/example/shop": {"app/internal/config", true}, "": {"app/internal/routes", true},
		"demo/inspect": {"jobs", false}, "app": {"app/internal/config", false},
	} {
		if got := private(place, row.target); got != row.want {
			t.Errorf("%s imports %s: %v", place, row.target, got)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	all := modulePackages(t)
	if len(all) < len(floors)/2 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		place, _ := p.within(p.ImportPath)
		floor, ok := floors[place]
		if !ok {
			t.Errorf("%s has no floor: give it one in deps_test.go", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if target, ours := p.within(imported); ours && private(place, target) {
				t.Errorf("%s imports %s: an application is written on public packages only", place, target)
			}
			if target, ours := p.within(imported); ours && floors[target] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down, never sideways", place, floor, target, floors[target])
			}
			if place == "pool" && strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, "golang.org/x/") {
				t.Errorf("pool imports %s: standard library and golang.org/x only", imported)
			}
			if slices.Contains(banned[place], imported) {
				t.Errorf("%s imports %s", place, imported)
			}
		}
	}
}

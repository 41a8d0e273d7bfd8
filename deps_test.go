package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors is the policy of imports: a package may import packages of lower
// floors only, never a sibling. A new package gets its line here; moving one
// takes a decision record.
var floors = map[string]int{
	"github.com/galeserver/gale/pool":              0,
	"github.com/galeserver/gale/internal/utf8text": 0,

	"github.com/galeserver/gale/server":  10,
	"github.com/galeserver/gale/jobs":    10,
	"github.com/galeserver/gale/uploads": 10,
	"github.com/galeserver/gale/prefork": 10,

	"github.com/galeserver/gale/jobs/redistest":   0,
	"github.com/galeserver/gale/jobs/sqlite":      20,
	"github.com/galeserver/gale/jobs/redisstream": 20,
	"github.com/galeserver/gale/jobs/jobstest":    20,

	"github.com/galeserver/gale/server/cache":      20,
	"github.com/galeserver/gale/server/limit":      20,
	"github.com/galeserver/gale/server/memory":     20,
	"github.com/galeserver/gale/server/realtime":   20,
	"github.com/galeserver/gale/server/redisdb":    15, // tasks are kept through it, too
	"github.com/galeserver/gale/server/static":     20,
	"github.com/galeserver/gale/server/upstream":   20,
	"github.com/galeserver/gale/server/sharedtest": 21,

	"github.com/galeserver/gale/server/upgrade":      15, // whoever speaks WebSocket does through it
	"github.com/galeserver/gale/server/uploadsocket": 20,
	"github.com/galeserver/gale/uploads/tus":         20,

	"github.com/galeserver/gale/server/app/command": 25,
	"github.com/galeserver/gale/server/app/watch":   25,
	"github.com/galeserver/gale/server/app/console": 27, // routes serve it
	"github.com/galeserver/gale/server/app/config":  28,
	"github.com/galeserver/gale/server/app/metrics": 28,
	"github.com/galeserver/gale/server/app/routes":  28,
	"github.com/galeserver/gale/server/app/inspect": 28,
	"github.com/galeserver/gale/server/app/manual":  29,
	"github.com/galeserver/gale/server/app":         30,

	"github.com/galeserver/gale":                40,
	"github.com/galeserver/gale/deploy/dist":    50,
	"github.com/galeserver/gale/docs/example":   50,
	"github.com/galeserver/gale/bench/faults":   50,
	"github.com/galeserver/gale/bench/chaos":    50,
	"github.com/galeserver/gale/bench/cost":     50,
	"github.com/galeserver/gale/bench/uploads":  50,
	"github.com/galeserver/gale/bench/idle":     50,
	"github.com/galeserver/gale/bench/sockets":  50,
	"github.com/galeserver/gale/docs/reference": 50,
	"github.com/galeserver/gale/bench/process":  0,
	"github.com/galeserver/gale/bench/figure":   0,
}

// banned are imports from outside that a package, and all below it, must do
// without.
var banned = map[string][]string{
	"github.com/galeserver/gale/prefork":     {"net/http", "github.com/valyala/fasthttp", "flag"},
	"github.com/galeserver/gale/jobs":        {"net/http", "github.com/valyala/fasthttp", "flag"},
	"github.com/galeserver/gale/uploads":     {"net/http/httputil", "github.com/valyala/fasthttp", "flag"},
	"github.com/galeserver/gale/uploads/tus": {"github.com/valyala/fasthttp", "flag"},
	"github.com/galeserver/gale/server":      {"flag"},
	"github.com/galeserver/gale/server/app":  {"flag"}, // config alone knows flags
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func modulePackages(t *testing.T) (all []goPackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
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

func TestImportsGoDown(t *testing.T) {
	all := modulePackages(t)
	if len(all) < len(floors)/2 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		floor, ok := floors[p.ImportPath]
		if !ok {
			t.Errorf("%s has no floor: give it one in deps_test.go", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if below, ours := floors[imported]; ours && below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down, never sideways", p.ImportPath, floor, imported, below)
			}
			if p.ImportPath == "github.com/galeserver/gale/pool" && strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, "golang.org/x/") {
				t.Errorf("github.com/galeserver/gale/pool imports %s: standard library and golang.org/x only", imported)
			}
			for _, b := range banned[p.ImportPath] {
				if imported == b {
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
		}
	}
}

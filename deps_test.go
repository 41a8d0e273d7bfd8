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
	"gale/pool":              0,
	"gale/internal/utf8text": 0,

	"gale/server":  10,
	"gale/jobs":    10,
	"gale/uploads": 10,
	"gale/prefork": 10,

	"gale/jobs/redistest":   0,
	"gale/jobs/sqlite":      20,
	"gale/jobs/redisstream": 20,
	"gale/jobs/jobstest":    20,

	"gale/server/cache":      20,
	"gale/server/limit":      20,
	"gale/server/memory":     20,
	"gale/server/realtime":   20,
	"gale/server/redisdb":    15, // tasks are kept through it, too
	"gale/server/static":     20,
	"gale/server/upstream":   20,
	"gale/server/sharedtest": 21,

	"gale/server/upgrade":      15, // whoever speaks WebSocket does through it
	"gale/server/uploadsocket": 20,
	"gale/uploads/tus":         20,

	"gale/server/app/command": 25,
	"gale/server/app/watch":   25,
	"gale/server/app/console": 27, // routes serve it
	"gale/server/app/config":  28,
	"gale/server/app/metrics": 28,
	"gale/server/app/routes":  28,
	"gale/server/app/inspect": 28,
	"gale/server/app/manual":  29,
	"gale/server/app":         30,

	"gale":                40,
	"gale/deploy/dist":    50,
	"gale/docs/example":   50,
	"gale/bench/faults":   50,
	"gale/bench/chaos":    50,
	"gale/bench/cost":     50,
	"gale/bench/uploads":  50,
	"gale/bench/idle":     50,
	"gale/bench/sockets":  50,
	"gale/docs/reference": 50,
	"gale/bench/process":  0,
	"gale/bench/figure":   0,
}

// banned are imports from outside that a package, and all below it, must do
// without.
var banned = map[string][]string{
	"gale/prefork":     {"net/http", "github.com/valyala/fasthttp", "flag"},
	"gale/jobs":        {"net/http", "github.com/valyala/fasthttp", "flag"},
	"gale/uploads":     {"net/http/httputil", "github.com/valyala/fasthttp", "flag"},
	"gale/uploads/tus": {"github.com/valyala/fasthttp", "flag"},
	"gale/server":      {"flag"},
	"gale/server/app":  {"flag"}, // config alone knows flags
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
			if p.ImportPath == "gale/pool" && strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, "golang.org/x/") {
				t.Errorf("gale/pool imports %s: standard library and golang.org/x only", imported)
			}
			for _, b := range banned[p.ImportPath] {
				if imported == b {
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
		}
	}
}

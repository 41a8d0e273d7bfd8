package deploy_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notOnTheDashboard are metrics without a panel, and why.
var notOnTheDashboard = map[string]string{
	"gale_connections_accepted_total": "for one slot, beside adopted connections; the panels show open and waiting ones",
	"gale_connections_adopted_total":  "follows exits and hangs, which have a panel",
	"gale_slot_processes_total":       "follows reloads, exits and hangs, which are shown",
	"gale_build_info":                 "constant; it fills the variable instance",
	"gale_pool_workers":               "constant: -pool",
	"gale_pool_queue_capacity":        "constant: -pool-queue",
	"gale_pool_done_total":            "requests and tasks per second have panels",
	"gale_pool_abandoned_total":       "callers that disconnected; the waiting calls have a panel",
	"gale_tasks_waiting":              "for the console's history; the panels show gale_queue_tasks",
	"gale_pool_panics_total":          "each is logged with its stack, and is a 500 response or a failed task",
}

// declared matches where a metric is declared.
var declared = regexp.MustCompile(`(?:desc\(|NewDesc\(|Name:\s*|Name\s*=\s*)"(gale_[a-z0-9_]+)"`)

// emitted returns the names of the metrics that the packages of the server declare.
func emitted(t *testing.T) (names []string) {
	t.Helper()
	for _, folder := range []string{"app", "internal", "jobs", "pool", "prefork", "server", "uploads"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
				names = append(names, match[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 40 {
		t.Fatalf("only %q", names)
	}
	return names
}

// dashboardQueries returns the queries of the dashboard's panels and annotations.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("deploy/grafana/gale.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Annotations struct{ List []struct{ Expr string } }
		Panels      []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil || len(board.Panels) < 10 {
		t.Fatalf("%d panels, %v", len(board.Panels), err)
	}
	for _, a := range board.Annotations.List {
		queries = append(queries, a.Expr)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	return queries
}

// metricNames finds the names of Gale's metrics in queries, without the suffixes of histograms.
func metricNames(queries string) (names []string) {
	for _, name := range regexp.MustCompile(`\bgale_[a-z0-9_]+`).FindAllString(queries, -1) {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Every metric is on the dashboard or has a reason not to be, is documented, and dashboard
// and alerts use no others.
func TestDashboardCoversEveryMetric(t *testing.T) {
	all := emitted(t)
	shown := metricNames(strings.Join(dashboardQueries(t), "\n"))
	for _, name := range all {
		_, excepted := notOnTheDashboard[name]
		switch on := slices.Contains(shown, name); {
		case !on && !excepted:
			t.Errorf("%s is not in deploy/grafana/gale.json: add a panel, or a reason to notOnTheDashboard", name)
		case on && excepted:
			t.Errorf("%s is in deploy/grafana/gale.json: remove it from notOnTheDashboard", name)
		}
	}
	for name := range notOnTheDashboard {
		if !slices.Contains(all, name) {
			t.Errorf("%s is in notOnTheDashboard, but does not exist", name)
		}
	}
	rules, err := os.ReadFile("deploy/prometheus/gale.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(shown, metricNames(string(rules))...) {
		if !slices.Contains(all, name) {
			t.Errorf("%s is in deploy/, but does not exist", name)
		}
	}
	page, err := os.ReadFile("docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if !regexp.MustCompile("`" + name + "[`{]").Match(page) {
			t.Errorf("%s is not in docs/reference/metrics.md", name)
		}
	}
}

//go:build e2e

package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// conditional are metrics that this server does not export, and what exports them.
var conditional = map[string]string{
	"gale_storage_request_duration_seconds": "-files",
	"gale_celery_messages_total":            "-celery",
	"gale_celery_results_total":             "-celery",
	"gale_program_memory_bytes":             "worker programs",
	"gale_program_output_dropped_total":     "worker programs",
	"gale_statsd_up":                        "-statsd",
	"gale_trace_spans_dropped_total":        "-trace",
	"gale_trace_spans_sent_total":           "-trace",
	"gale_upload_refused_total":             "-upload-hook, -quota",
}

// TestE2EPromtool checks /metrics of a server, the alerts and the dashboard with
// promtool, and that every metric in alerts and dashboard exists.
func TestE2EPromtool(t *testing.T) {
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "1")
	response := harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	harness.AwaitTask(t, g, response.Files[0].Task)
	harness.StartTask(t, g, "x") // so that a queue is not empty
	var text string
	testutil.Eventually(t, "all metrics are there", func() bool {
		_, text, _ = harness.Get("http://" + g.Admin + "/metrics")
		return strings.Contains(text, `event="succeeded"`) && strings.Contains(text, "gale_queue_oldest_seconds") && strings.Contains(text, "gale_upload_duration_seconds_bucket") && strings.Contains(text, "gale_task_duration_seconds_bucket")
	})
	promtool(t, text, "check", "metrics")
	promtool(t, "", "check", "rules", "deploy/prometheus/gale.rules.yml")
	promtool(t, "", "test", "rules", "deploy/prometheus/gale.test.yml")
	promtool(t, "", "check", "config", "deploy/prometheus/prometheus.yml")

	// The dashboard's queries are PromQL after Grafana has replaced its variables.
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	queries := dashboardQueries(t)
	filled := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	for i, q := range queries {
		fmt.Fprintf(&rules, "  - record: panel_%d\n    expr: %q\n", i, filled.Replace(q))
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", "--lint=none", file)

	shipped, err := os.ReadFile("deploy/prometheus/gale.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(gale|process)_[a-z_]+`).FindAllString(string(shipped)+strings.Join(queries, "\n"), -1)
	slices.Sort(named)
	named = slices.Compact(named)
	if len(named) < 15 {
		t.Errorf("only %v are used", named)
	}
	known := append(emitted(t), "gale_broadcast_clients") // of package demo
	for _, name := range metricNames(text) {
		if !slices.Contains(known, name) {
			t.Errorf("%s is exported, but TestDashboardCoversEveryMetric does not find it", name)
		}
	}
	for _, name := range named {
		if _, ok := conditional[strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")]; ok {
			continue // TestDashboardCoversEveryMetric checks that it exists
		}
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is not exported", name)
		}
	}
}

// promtool runs promtool, which must print no warnings.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "FAILED") || args[1] == "metrics" && len(out) > 0 {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

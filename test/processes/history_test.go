package processes_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// history is the body of /history.
type history struct {
	Series map[string]struct {
		Step, From int64
		Values     map[string][]*float64
	}
}

// sum returns the sum of the known values of a series, each for its ten seconds or five
// minutes: the number of events, for a rate.
func (h history) sum(series, name string) (total float64) {
	s := h.Series[series]
	for _, v := range s.Values[name] {
		if v != nil {
			total += *v * float64(s.Step)
		}
	}
	return total
}

func readHistory(t *testing.T, g *harness.Server) (h history) {
	t.Helper()
	harness.GetJSON(t, "http://"+g.Admin+"/history", &h)
	return h
}

// The history is on the admin endpoint and, for those who may read the console, at
// /console/history. A damaged file does not stop the start.
func TestHistoryRoutes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"-single=false", "-single=true"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "data", "history")
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-token", "secret", "-admin", "127.0.0.1:"+harness.FreePort(t), mode)
			if kept, err := os.ReadFile(file + ".unreadable"); err != nil || string(kept) != "nonsense" || !strings.Contains(g.Log.String(), "history file is not readable") {
				t.Errorf("%s, %v\n%s", kept, err, g.Log)
			}
			h := readHistory(t, g)
			if h.Series["hour"].Step != 10 || h.Series["day"].Step != 300 || len(h.Series["hour"].Values) != 9 {
				t.Errorf("%+v", h)
			}
			// The admin endpoint of a master responds after Run has begun; a page may be earlier.
			var resp *http.Response
			testutil.Eventually(t, "the history is in the console", func() bool {
				resp, _ = harness.Request(t, "GET", g.URL+"/console/history", "", "Authorization", "Bearer secret")
				return resp.StatusCode == http.StatusOK
			})
			if got := resp.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: %s", got)
			}
			if resp, _ := harness.Request(t, "GET", g.URL+"/console/history", ""); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("without a token: %d", resp.StatusCode)
			}
			if err := g.Cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = g.Wait() // writes the file
			if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "gale-history 1 ") {
				t.Errorf("%.40s, %v", text, err)
			}
		})
	}
}

// Without the admin endpoint there is no history.
func TestHistoryWithoutAdmin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-admin", "")
	if resp, body := harness.Request(t, "GET", g.URL+"/console/history", ""); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "set -admin") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "history")); err == nil {
		t.Error("a history file was written")
	}
}

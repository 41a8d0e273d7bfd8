//go:build e2e

package http_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestE2ESiegeOnFetch runs siege with a hundred clients on /fetch. The upstream sends
// no response until a hundred requests wait for it, so no pool of the server may
// limit them. The rate is printed and not checked: it depends on the machine.
func TestE2ESiegeOnFetch(t *testing.T) {
	const clients, rounds = 100, 5
	var waiting atomic.Int64
	together := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if waiting.Add(1) == clients {
			close(together)
		}
		select {
		case <-together:
			<-time.After(time.Second)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(up.Close)
	g := harness.Start(t, t.TempDir(), "-fetch-url", up.URL+"/")
	cmd := exec.Command("siege", fmt.Sprint("-c", clients), fmt.Sprint("-r", rounds), "--benchmark", "--json-output", g.URL+"/fetch")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // siege writes its configuration there
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("siege: %v\n%s", err, out)
	}
	var got struct {
		Transactions int
		Availability float64
		Failed       int     `json:"failed_transactions"`
		Rate         float64 `json:"transaction_rate"`
		Longest      float64 `json:"longest_transaction"`
	}
	if err := json.Unmarshal(out[strings.IndexByte(string(out), '{'):], &got); err != nil {
		t.Fatalf("siege: %v\n%s", err, out)
	}
	t.Logf("%.1f transactions a second, %d failed, the longest %.2f s", got.Rate, got.Failed, got.Longest)
	if got.Failed != 0 || got.Availability != 100 || got.Transactions != clients*rounds {
		t.Errorf("%+v", got)
	}
}

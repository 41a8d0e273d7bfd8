//go:build e2e

package attack_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const (
	// probeLimit is the time in which a probe must get its response.
	probeLimit = 30 * time.Second
	// probePause is the time between two probes of one kind.
	probePause = 50 * time.Millisecond
	// probeRounds is the number of probes of each kind that must succeed during an attack.
	probeRounds = 20
)

// probe is a kind of request of an honest client.
type probe struct {
	name, method, path, body string
	status                   int
}

// probes are sent by the prober. The path of an upload gets a number.
var probes = []probe{
	{"GET /", "GET", "/", "", 200},
	{"POST /tasks", "POST", "/tasks", `{"task":"long_running_task","args":["probe"],"queue":"probes"}`, 202},
	{"PUT /upload", "PUT", "/upload/probe/", "the content of a small file", 200},
}

// prober sends all probes again and again, each on a new connection.
type prober struct {
	server *harness.Server
	client *http.Client

	mu      sync.Mutex
	done    map[string]int // number of successful probes by name
	slowest map[string]time.Duration
	failed  []string
}

// startProber starts a prober that ends with the test.
func startProber(t *testing.T, g *harness.Server) *prober {
	p := &prober{
		server: g, done: map[string]int{}, slowest: map[string]time.Duration{},
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, kind := range probes {
		all.Go(func() {
			tick := time.NewTicker(probePause)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				p.send(ctx, kind, i)
				<-tick.C
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return p
}

// send sends a probe and records its outcome.
func (p *prober) send(ctx context.Context, kind probe, i int) {
	path := kind.path
	if strings.HasSuffix(path, "/probe/") {
		path += fmt.Sprint(i, ".txt")
	}
	start := time.Now()
	err := p.request(ctx, kind, path)
	took := time.Since(start)
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowest[kind.name] = max(p.slowest[kind.name], took)
	if err != nil {
		p.failed = append(p.failed, fmt.Sprintf("%s after %v: %v", kind.name, took.Round(time.Millisecond), err))
		return
	}
	p.done[kind.name]++
}

func (p *prober) request(ctx context.Context, kind probe, path string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, kind.method, p.server.URL+path, strings.NewReader(kind.body))
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != kind.status {
		return fmt.Errorf("status %d: %.200s", resp.StatusCode, bytes.TrimSpace(body))
	}
	return nil
}

// reset begins the count for an attack.
func (p *prober) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.done)
	clear(p.slowest)
	p.failed = nil
}

// await waits until so many probes of each kind have succeeded since reset.
func (p *prober) await(t *testing.T, rounds int) {
	t.Helper()
	testutil.Eventually(t, fmt.Sprint(rounds, " probes of each kind have ended"), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, kind := range probes {
			if p.done[kind.name] < rounds && len(p.failed) == 0 {
				return false
			}
		}
		return true
	})
}

// check fails the test if a probe has failed since reset, and logs the slowest ones.
func (p *prober) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kind := range probes {
		t.Logf("%-12s %4d responses, the slowest after %v", kind.name, p.done[kind.name], p.slowest[kind.name].Round(time.Millisecond))
	}
	for i, text := range p.failed {
		if i == 10 {
			t.Errorf("and %d more", len(p.failed)-i)
			break
		}
		t.Error(text)
	}
}

package http_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, roots := harness.WritePair(t, dir)
	_, otherKey, _ := harness.WritePair(t, t.TempDir())

	out, err := exec.Command(harness.Binary(), "check", "-data", dir, "-tls-cert", cert, "-tls-key", otherKey).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "-tls-cert and -tls-key: tls: private key does not match public key") {
		t.Errorf("check of a pair that is none: %v\n%s", err, out)
	}
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-tls-cert", cert, "-tls-key", key)
	if !strings.HasPrefix(g.URL, "https://") {
		t.Fatalf("url %s", g.URL)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for origin, status := range map[string]int{g.URL: 200, strings.Replace(g.URL, "https", "http", 1): 403} {
		req, err := http.NewRequest(http.MethodPost, g.URL+"/publish/a", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("a page of %s: %d, want %d", origin, resp.StatusCode, status)
		}
	}
	for range 5 {
		resp, err := client.Get(g.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "Hello, friendly user!" || resp.Proto != "HTTP/1.1" || resp.TLS.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s %q %s, %v", resp.Proto, body, resp.TLS.NegotiatedProtocol, err)
		}
		client.CloseIdleConnections()
	}
}

// A renewed certificate is served after HUP, and no connection is lost on the
// way there.
func TestHUPRereadsTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, roots := harness.WritePair(t, dir)
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-tls-cert", cert, "-tls-key", key)
	_, _, renewed := harness.WritePair(t, dir) // under the same names
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// Each request shakes hands anew; either certificate is right until then.
	served := func(roots *x509.CertPool) bool {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		resp, err := client.Get(g.URL)
		if err != nil {
			if _, other := errors.AsType[*tls.CertificateVerificationError](err); !other {
				t.Errorf("lost: %v", err)
			}
			return false
		}
		return harness.ReadAll(t, resp) == "Hello, friendly user!"
	}
	row := 0 // of answers with the new one: twenty come from all children
	testutil.Eventually(t, "the new certificate is served", func() bool {
		if served(renewed) {
			row++
		} else {
			row = 0
		}
		return row == 20
	})
	if served(roots) {
		t.Error("the old certificate is still served")
	}
}

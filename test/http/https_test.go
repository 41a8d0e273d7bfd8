package http_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// After HUP the server uses a renewed certificate, and no connection is lost during
// the reload.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, roots := harness.WriteCertificate(t, dir)
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-tls-cert", cert, "-tls-key", key)
	_, _, renewed := harness.WriteCertificate(t, dir) // replaces the files
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// Each request has a new handshake. During the reload either certificate is valid.
	served := func(roots *x509.CertPool) bool {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		resp, err := client.Get(g.URL)
		if err != nil {
			if _, other := errors.AsType[*tls.CertificateVerificationError](err); !other {
				t.Errorf("lost request: %v", err)
			}
			return false
		}
		return harness.ReadAll(t, resp) == "Hello, friendly user!"
	}
	row := 0 // responses in a row with the new certificate; twenty come from both children
	testutil.Eventually(t, "every child uses the new certificate", func() bool {
		if served(renewed) {
			row++
		} else {
			row = 0
		}
		return row == 20
	})
	if served(roots) {
		t.Error("the old certificate is still used")
	}
}

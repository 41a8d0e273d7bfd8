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

// A renewed certificate is served after HUP, and no connection is lost on the
// way there.
func TestHUPRereadsTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, roots := harness.WriteCertificate(t, dir)
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-tls-cert", cert, "-tls-key", key)
	_, _, renewed := harness.WriteCertificate(t, dir) // under the same names
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

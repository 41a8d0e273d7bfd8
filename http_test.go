package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// writePair writes a self-signed certificate for 127.0.0.1 and its key into dir.
func writePair(t *testing.T, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return cert, key, roots
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, roots := writePair(t, dir)
	_, otherKey, _ := writePair(t, t.TempDir())

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
	cert, key, roots := writePair(t, dir)
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-tls-cert", cert, "-tls-key", key)
	_, _, renewed := writePair(t, dir) // under the same names
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

package harness

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
)

// ConsoleClients are the npm packages that the scripts in test/console/testdata import.
var ConsoleClients = []string{"playwright-core@1.65.1", "axe-core@4.14.1", "ws@8.18.0"}

// Browser is a client that keeps cookies and sends Sec-Fetch-Site. It follows no
// redirects.
type Browser struct {
	t      *testing.T
	URL    string
	Client http.Client
}

// NewBrowser returns a Browser without cookies for a server.
func NewBrowser(t *testing.T, g *Server) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// Each request has its own connection, so that any process may get it.
	return &Browser{t: t, URL: g.URL, Client: http.Client{
		Jar: jar, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Do sends a request and returns the response and its body. site is the value of
// Sec-Fetch-Site.
func (b *Browser) Do(method, path, site, body string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", site)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// Expect is like Do. Another status than the given one fails the test.
func (b *Browser) Expect(method, path, site, body string, status int) (*http.Response, string) {
	b.t.Helper()
	resp, text := b.Do(method, path, site, body)
	if resp.StatusCode != status {
		b.t.Errorf("%s %s from %s: %d, want %d: %.200s", method, path, site, resp.StatusCode, status, text)
	}
	return resp, text
}

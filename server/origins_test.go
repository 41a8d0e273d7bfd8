package server_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/server"
)

// An entry matches what a browser sends for it, and nothing similar.
func TestOriginsMatch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		entry       string
		match, miss []string
	}{
		{"https://app.example", []string{"https://app.example", "HTTPS://APP.example"},
			[]string{"http://app.example", "https://app.example:8443", "https://app.example.evil.example", "https://sub.app.example", "null", "", "https://app.example/"}},
		{"https://App.Example/", []string{"https://app.example"}, nil},
		{"HTTPS://app.example:443", []string{"https://app.example"}, []string{"https://app.example:444"}},
		{"http://app.example:80", []string{"http://app.example"}, nil},
		{"http://app.example:443", []string{"http://app.example:443"}, []string{"http://app.example"}},
		{"http://localhost:3000", []string{"http://localhost:3000"}, []string{"http://localhost"}},
		{"https://app.example:", []string{"https://app.example"}, nil},
		{"https://bücher.example", []string{"https://xn--bcher-kva.example"}, nil},
		{"http://my_host:8080", []string{"http://my_host:8080"}, nil},
		{"http://127.0.0.1:8080", []string{"http://127.0.0.1:8080"}, nil},
		{"http://[0:0::1]:8080", []string{"http://[::1]:8080"}, nil},
		{"chrome-extension://abcdefgh", []string{"chrome-extension://abcdefgh"}, nil},
		{"https://*.example.com", []string{"https://a.example.com", "https://a.b.example.com", "https://A-1.example.com"},
			[]string{"https://example.com", "https://.example.com", "https://a..example.com", "https://aexample.com", "http://a.example.com", "https://a.example.com:8443",
				"https://a.example.com.evil.example", "https://evil.example/.example.com", "https://evil.example:1.example.com", "https://u@a.example.com"}},
		{"https://*.example.com:8443", []string{"https://a.example.com:8443"}, []string{"https://a.example.com"}},
		{"http://*.localhost:3000", []string{"http://shop.localhost:3000"}, []string{"http://localhost:3000"}},
	} {
		o, err := server.ParseOrigins([]string{"https://other.example", row.entry})
		if err != nil {
			t.Errorf("%s: %v", row.entry, err)
			continue
		}
		for _, origin := range row.match {
			if !o.Match([]byte(origin)) {
				t.Errorf("%s does not let %q in", row.entry, origin)
			}
		}
		for _, origin := range row.miss {
			if o.Match([]byte(origin)) {
				t.Errorf("%s lets %q in", row.entry, origin)
			}
		}
	}
	if none, err := server.ParseOrigins(nil); err != nil || !none.Empty() || none.Match([]byte("https://app.example")) || none.Match(nil) {
		t.Errorf("no entries: %+v, %v", none, err)
	}
}

// The error names every entry that no browser's Origin can match.
func TestOriginsThatNeverMatch(t *testing.T) {
	t.Parallel()
	entries := []string{
		"*", "null", "app.example", "*.example.com", "https://", "https://*", "https://*.", "https://app.example/path", "https://app.example//",
		"https://app.example?x", "https://app.example#x", "https://user@app.example", "https://app.example:0", "https://app.example:65536",
		"https://app.example:x", "https://app.example:*", "https://a.*.example", "https://app-*.example", "https://*.*.example", "https://*.0.0.1",
		"wss://app.example", "file:///tmp", "https://a..example", "https://.example", "https://a b.example", "https://127.1", "https://0x7f.1", "https://app.999",
		"https://[::1", "https://[fe80::1%25eth0]", "https://[::ffff:127.0.0.1]", "//app.example", "1https://app.example", "https://app\\.example", "https://%61pp.example",
	}
	_, err := server.ParseOrigins(append(entries, "https://app.example"))
	if err == nil {
		t.Fatal("all of them are accepted")
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(entries) {
		t.Errorf("%d faults for %d entries:\n%v", len(faults), len(entries), err)
	}
	for _, entry := range entries {
		if _, err := server.ParseOrigins([]string{entry}); err == nil {
			t.Errorf("%s is accepted", entry)
		}
	}
}

package uploads_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/test/harness"
)

// A process that can open no more files responds with 503 and Retry-After, and works again
// when it can. Each request has a connection from before.
func TestTooManyOpenFiles(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	contentType, form := harness.UploadForm("d", "form", []byte("bytes"))
	rows := []struct {
		method, path string
		body         []byte
		header       []string
		want         int // when files can be opened
	}{
		{"PUT", "/upload/d/put", []byte("bytes"), nil, 200},
		{"GET", "/upload/d/there", nil, nil, 200},
		{"POST", "/upload", form, []string{"Content-Type", contentType}, 200},
		{"POST", "/tus/", nil, []string{"Tus-Resumable", "1.0.0", "Upload-Length", "5", "Upload-Metadata", "filename dHVz"}, 201},
	}
	send := func(client *http.Client, method, path string, body []byte, header ...string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	clients := make([]*http.Client, len(rows))
	for i := range rows {
		clients[i] = &http.Client{Transport: &http.Transport{}}
		t.Cleanup(clients[i].CloseIdleConnections)
		if resp, text := send(clients[i], "GET", "/healthz", nil); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, text)
		}
	}
	if resp, text := send(clients[0], "PUT", "/upload/d/there", []byte("bytes")); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, text)
	}
	serve := g.Slots(t)["serve.0"].PID
	var before unix.Rlimit
	if err := unix.Prlimit(serve, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(serve, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		resp, text := send(clients[i], r.method, r.path, r.body, r.header...)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %s %v %s", r.method, r.path, resp.Status, resp.Header, text)
		}
	}
	if err := unix.Prlimit(serve, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if resp, text := send(clients[i], r.method, r.path, r.body, r.header...); resp.StatusCode != r.want {
			t.Errorf("%s %s afterwards: %s %s", r.method, r.path, resp.Status, text)
		}
	}
	if now := g.Slots(t)["serve.0"].PID; now != serve {
		t.Errorf("serve.0 was replaced: %d, before %d", now, serve)
	}
}

package http_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/test/harness"
)

// greeting is the path of a response of more than 1 KiB, and greeted is its body.
var (
	greeting = "/?greeting=" + url.QueryEscape(strings.Repeat("Good morning! ", 200))
	greeted  = strings.Repeat("Good morning! ", 200) + ", friendly user!"
)

// Clients as users have them get compressed responses: Go's, and one that prefers zstd.
func TestCompress(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-compress", "-compress-level", "6")
	resp, body := harness.Request(t, "GET", g.URL+greeting, "")
	if !resp.Uncompressed || body != greeted || resp.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("Go: %d bytes, %v", len(body), resp.Header)
	}
	resp, body = harness.Request(t, "GET", g.URL+greeting, "", "Accept-Encoding", "gzip, deflate, br, zstd")
	content, err := fasthttp.AppendUnzstdBytes(nil, []byte(body))
	if resp.Header.Get("Content-Encoding") != "zstd" || err != nil || string(content) != greeted {
		t.Errorf("zstd: %d bytes, %v, %v", len(content), err, resp.Header)
	}
	for _, fields := range [][]string{{"Accept-Encoding", "identity"}, {"Accept-Encoding", "gzip", "Cookie", "a=b"}, {"Accept-Encoding", "gzip", "Authorization", "Bearer x"}} {
		if resp, body := harness.Request(t, "GET", g.URL+greeting, "", fields...); resp.Header.Get("Content-Encoding") != "" || body != greeted {
			t.Errorf("%q: %v", fields, resp.Header)
		}
	}
}

// With -compress a document with an ETag is compressed, and its conditions hold.
func TestCompressedConditions(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-compress")
	plain, document := harness.Request(t, "GET", g.URL+"/openapi.json", "", "Accept-Encoding", "identity")
	strong := plain.Header.Get("Etag")
	weak := "W/" + strong
	if !strings.HasPrefix(strong, `"`) || len(document) < 1<<10 {
		t.Fatalf("%d bytes, %v", len(document), plain.Header)
	}
	for _, row := range []struct {
		fields      []string
		status      int
		coding, tag string
	}{
		{nil, 200, "gzip", weak},
		{[]string{"If-None-Match", weak}, 304, "", weak},
		{[]string{"If-None-Match", strong}, 304, "", strong},
		{[]string{"If-None-Match", `W/"other"`}, 200, "gzip", weak},
		{[]string{"If-Match", strong}, 200, "gzip", weak},
		{[]string{"If-Match", weak}, 412, "", ""},
		{[]string{"Range", "bytes=0-9"}, 200, "gzip", weak}, // the document has no ranges
	} {
		resp, _ := harness.Request(t, "GET", g.URL+"/openapi.json", "", append(row.fields, "Accept-Encoding", "gzip")...)
		if resp.StatusCode != row.status || resp.Header.Get("Content-Encoding") != row.coding || row.tag != "" && resp.Header.Get("Etag") != row.tag ||
			resp.StatusCode < 400 && resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %d %v", row.fields, resp.StatusCode, resp.Header)
		}
	}
}

// Files have their own rules for ETags, ranges and compression: with -compress they get
// the same responses as without it.
func TestCompressLeavesFilesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(name, []byte(strings.Repeat("0123456789", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var servers [2]*harness.Server
	for i, flags := range [][]string{{"-compress"}, nil} {
		servers[i] = harness.Start(t, t.TempDir(), append(flags, "-procs", "1", "-workers", "0", "-static", dir)...)
		harness.Upload(t, servers[i], "d", name)
	}
	for _, path := range []string{"/static/a.txt", "/upload/d/a.txt"} {
		resp, _ := harness.Request(t, "GET", servers[1].URL+path, "", "Accept-Encoding", "identity")
		plainTag, modified := resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")
		resp, _ = harness.Request(t, "GET", servers[1].URL+path, "", "Accept-Encoding", "gzip")
		codedTag := resp.Header.Get("Etag")
		if path == "/static/a.txt" && (plainTag == codedTag || resp.Header.Get("Content-Encoding") != "gzip") || plainTag == "" || strings.HasPrefix(codedTag, "W/") {
			t.Fatalf("%s: %s, %v", path, plainTag, resp.Header)
		}
		for _, row := range []struct {
			status int
			fields []string
		}{
			{200, nil},
			{200, []string{"Accept-Encoding", "gzip"}},
			{200, []string{"Accept-Encoding", "gzip", "Cookie", "a=b"}},
			{206, []string{"Range", "bytes=0-2000"}},
			{206, []string{"Range", "bytes=0-2000", "If-Range", plainTag}},
			{206, []string{"Range", "bytes=-2000", "If-Range", modified}},
			{200, []string{"Range", "bytes=0-2000", "If-Range", "W/" + plainTag}},
			{200, []string{"Range", "bytes=0-2000", "If-Range", `"other"`}},
			{416, []string{"Range", "bytes=99999-"}},
			{304, []string{"If-None-Match", plainTag, "Accept-Encoding", "identity"}},
			{304, []string{"If-None-Match", "W/" + plainTag, "Accept-Encoding", "identity"}},
			{304, []string{"If-None-Match", codedTag, "Accept-Encoding", "gzip"}},
		} {
			if len(row.fields) > 0 && row.fields[0] == "Range" {
				row.fields = append(row.fields, "Accept-Encoding", "gzip, br, zstd")
			}
			var got [2]string
			for i, g := range servers {
				fields := row.fields
				if i == 0 && strings.Contains(strings.Join(fields, " "), modified) { // each server has its own upload
					r, _ := harness.Request(t, "GET", g.URL+path, "")
					fields = strings.Split(strings.ReplaceAll(strings.Join(fields, "|"), modified, r.Header.Get("Last-Modified")), "|")
				}
				resp, body := harness.Request(t, "GET", g.URL+path, "", fields...)
				if resp.StatusCode != row.status {
					t.Errorf("%s %q: %d, want %d", path, fields, resp.StatusCode, row.status)
				}
				got[i] = describe(resp) + body
			}
			if got[0] != got[1] {
				t.Errorf("%s %q: with -compress %.300s\nwithout %.300s", path, row.fields, got[0], got[1])
			}
		}
	}
}

// describe returns the fields of a response that compression could change.
func describe(resp *http.Response) string {
	var text strings.Builder
	text.WriteString(resp.Status)
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Vary", "Repr-Digest", "Cache-Control"} {
		text.WriteString("\n" + name + ": " + strings.Join(resp.Header.Values(name), "|"))
	}
	return text.String() + "\n\n"
}

// A slow request is logged with its route and without its query; requests that wait for
// an event are not.
func TestSlowRequest(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-slow-request", "300ms")
	task := harness.PostTask(t, g, `{"task":"long_running_task"}`)
	for _, path := range []string{"/longpoll?s=0.5", "/tasks/" + task.ID + "?wait=0.5s", "/delay?s=0.5"} {
		if status, body, err := harness.Get(g.URL + path); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s %v", path, status, body, err)
		}
	}
	_ = harness.Socket(t, g, "/websocket").Close()
	g.Log.Await(t, "slow request")
	for line := range strings.Lines(g.Log.String()) {
		if strings.Contains(line, "slow request") && (strings.Contains(line, "longpoll") || strings.Contains(line, "/tasks/") || strings.Contains(line, "websocket") || strings.Contains(line, "s=0.5")) {
			t.Error(line)
		}
	}
	g.Log.Await(t, "route=/delay ")
}

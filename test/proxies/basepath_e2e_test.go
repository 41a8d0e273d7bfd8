//go:build e2e

package proxies_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// Location blocks of nginx. $1 is the port of a server, $2 the port of a server with
// -base-path /kept.
const locations = `
		client_max_body_size 0;
		# As short as it gets: HTTP/1.0, and nothing is said of the client.
		location /short/ { proxy_pass http://127.0.0.1:$1/tus/; }
		location /silent/ { proxy_pass http://127.0.0.1:$1/; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $gale_connection; proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr; }
		location /kept/ { proxy_pass http://127.0.0.1:$2; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $gale_connection; proxy_set_header Host $http_host; }
`

// TestE2EBehindAPath runs servers below paths of an nginx. tus-js-client uploads
// through each path, in one and in several parallel requests, and Chromium uses the
// console there.
func TestE2EBehindAPath(t *testing.T) {
	const token = "drawn-for-this-test"
	modules := harness.InstallNPM(t, append(harness.ConsoleClients, harness.TusJSClient)...)
	script, err := os.ReadFile("test/tus/testdata/tus.mjs")
	if err != nil || os.WriteFile(filepath.Join(modules, "tus.mjs"), script, 0o600) != nil {
		t.Fatal(err)
	}
	file := filepath.Join(modules, "some.bin")
	if err := os.WriteFile(file, harness.UploadContent(7, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plain := harness.Start(t, dir, "-procs", "2", "-admin", "127.0.0.1:"+harness.FreePort(t))
	based := harness.Start(t, t.TempDir(), "-procs", "2", "-admin", "127.0.0.1:"+harness.FreePort(t), "-base-path", "/kept", "-token", token)
	shipped, err := os.ReadFile("deploy/nginx/gale-path.conf") // /gale/ and /files/
	if err != nil || strings.Count(string(shipped), "127.0.0.1:8888/") != 2 {
		t.Fatalf("deploy/nginx/gale-path.conf: %v\n%s", err, shipped)
	}
	front := nginxWith(t, locations+strings.ReplaceAll(string(shipped), ":8888/", ":$1/"), plain, based)

	for _, path := range []string{"/files/", "/short/", "/silent/tus/", "/gale/tus/"} {
		for _, parallel := range []string{"1", "3"} {
			t.Run("tus-js-client"+strings.ReplaceAll(path, "/", " ")+parallel, func(t *testing.T) {
				folder := strings.ReplaceAll(path, "/", "") + parallel
				out := harness.Run(t, "node", filepath.Join(modules, "tus.mjs"), front, file, folder, parallel, "1000000000", front+path)
				words := strings.Fields(harness.LastLine(out))
				if len(words) != 3 || words[0] != "done" || !strings.HasPrefix(words[1], front+path) {
					t.Errorf("the upload ended with %q", words)
				}
				if harness.FileSHA256(t, filepath.Join(dir, "data/uploads", folder, "some.bin")) != harness.FileSHA256(t, file) {
					t.Error("the stored file has other content")
				}
			})
		}
	}
	speech, err := filepath.Abs("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name, path string
		g          *harness.Server
		args       []string
	}{
		{"drop", "/gale", plain, nil},
		{"token", "/kept", based, []string{token, speech}},
		{"pages", "/silent", plain, nil},
	} {
		t.Run("console "+story.name+" "+story.path, func(t *testing.T) {
			script, err := filepath.Abs(filepath.Join("test/console/testdata", story.name+".mjs"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
			defer cancel()
			args := append([]string{script, front + story.path, story.g.Admin, fmt.Sprint(story.g.Cmd.Process.Pid), t.TempDir()}, story.args...)
			cmd := exec.CommandContext(ctx, "node", args...)
			cmd.Dir = modules
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, bytes.TrimSpace(text))
			}
		})
	}
}

// nginxWith starts an nginx with these location blocks and returns its URL.
func nginxWith(t *testing.T, locations string, servers ...*harness.Server) (url string) {
	t.Helper()
	for i, g := range servers {
		locations = strings.ReplaceAll(locations, fmt.Sprintf("$%d", i+1), g.URL[strings.LastIndexByte(g.URL, ':')+1:])
	}
	return harness.StartNginx(t, locations)
}

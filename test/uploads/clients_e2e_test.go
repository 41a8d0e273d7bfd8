//go:build e2e

package uploads_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// seedCodes are the codes of the seed application's responses, and their HTTP status.
const seedCodes = `form 200 200
again 501 409
no-file 502 400
fields 200 200
fields-again 501 409
no-directory 503 400
no-filename 503 400
text 504 415
delete 200 200
delete-again 200 200
delete-nothing 503 400
form-once-more 200 200
same True 200
`

// TestE2EUploadSeedRequests sends the requests of the seed application's own clients.
func TestE2EUploadSeedRequests(t *testing.T) {
	g := harness.Start(t, t.TempDir())
	for _, library := range []string{"urllib", "http.client"} {
		if got := harness.Run(t, "python3", "test/uploads/testdata/seed_client.py", g.URL, "seed/"+library, library); got != seedCodes {
			t.Errorf("%s: got\n%s\nwant\n%s", library, got, seedCodes)
		}
	}
	const speech = "demo/inspect/testdata/speech.wav"
	for _, row := range []struct {
		want string
		args []string
	}{
		{"200 200", []string{"-F", "curl=@" + speech}},
		{"501 409", []string{"-F", "curl=@" + speech}},
		{"502 400", []string{"-F", "curl=text"}},
		{"200 200", []string{"-d", "directory=curl", "-d", "filename=b.wav", "--data-urlencode", "body@" + speech}},
		{"503 400", []string{"-d", "filename=b.wav", "-d", "body=x"}},
		{"503 400", []string{"-d", "directory=curl", "-d", "body=x"}},
		{"504 415", []string{"-d", "directory=curl", "-d", "filename=b.txt", "-d", "body=x"}},
		{"200 200", []string{"-X", "DELETE", "-d", "directory=curl", "-d", "filename=speech.wav"}},
		{"200 200", []string{"-F", "curl=@" + speech}},
	} {
		out := harness.Run(t, "curl", append([]string{"-sS", "-w", " %{http_code}"}, append(row.args, g.URL+"/upload")...)...)
		body, status, _ := strings.Cut(out, "} ")
		var response struct{ Code int }
		if err := json.Unmarshal([]byte(body+"}"), &response); err != nil || fmt.Sprint(response.Code, " ", status) != row.want {
			t.Errorf("curl %q: %s, %v; want %s", row.args, out, err, row.want)
		}
	}
}

// someFiles creates n files of different sizes and returns their paths.
func someFiles(t *testing.T, n int) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("%02d größe.bin", i))
		if err := os.WriteFile(path, harness.UploadContent(i, i*i*20_000), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// sameFiles compares the stored files with the sent ones.
func sameFiles(t *testing.T, stored string, sent []string) {
	t.Helper()
	for _, path := range sent {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(stored, filepath.Base(path)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, or other content: %v", filepath.Base(path), len(got), len(want), err)
		}
	}
}

// TestE2EUploadCurlManyFiles sends twenty files in one form.
func TestE2EUploadCurlManyFiles(t *testing.T) {
	dir := t.TempDir()
	g := harness.Start(t, dir)
	files := someFiles(t, 20)
	args := []string{"-sS"}
	for _, path := range files {
		args = append(args, "-F", "curl/twenty=@"+path)
	}
	var response harness.UploadResponse
	if err := json.Unmarshal([]byte(harness.Run(t, "curl", append(args, g.URL+"/upload")...)), &response); err != nil || response.Code != 200 || len(response.Files) != 20 {
		t.Errorf("%+v, %v", response, err)
	}
	sameFiles(t, filepath.Join(dir, "data/uploads/curl/twenty"), files)
}

// TestE2EUploadUndici sends files with the FormData of undici.
func TestE2EUploadUndici(t *testing.T) {
	dir, client := t.TempDir(), t.TempDir()
	g := harness.Start(t, dir)
	script, err := os.ReadFile("test/uploads/testdata/undici.mjs")
	if err != nil || os.WriteFile(filepath.Join(client, "undici.mjs"), script, 0o600) != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "undici@6.21.3")
	install.Dir = client
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	files := someFiles(t, 8)
	out := harness.Run(t, "node", append([]string{filepath.Join(client, "undici.mjs"), g.URL}, files...)...)
	var response harness.UploadResponse
	if err := json.Unmarshal([]byte(harness.LastLine(out)), &response); err != nil || response.Code != 200 || len(response.Files) != len(files) {
		t.Errorf("%s, %v", out, err)
	}
	sameFiles(t, filepath.Join(dir, "data/uploads/undici/ünï"), files)
}

// TestE2EUploadChromium uploads from a browser by form, fetch and WebSocket.
func TestE2EUploadChromium(t *testing.T) {
	reports := make(chan string, 10)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/report" {
			text, _ := io.ReadAll(r.Body)
			reports <- r.URL.Query().Get("name") + " " + string(text)
			return
		}
		http.ServeFile(w, r, "test/uploads/testdata/browser.html")
	}))
	defer page.Close()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-origins", page.URL)
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), page.URL+"/?base="+url.QueryEscape(g.URL))
	browser.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-browser.Process.Pid, syscall.SIGKILL) // its process group
		_ = browser.Wait()
	}()
	for range 3 {
		select {
		case text := <-reports:
			want := `fetch sent`
			if strings.HasPrefix(text, "socket") {
				want = `"protocol":"bearer.s3cret","code":1000,"said":[{"offset":300000},{"code":200`
			}
			if strings.HasPrefix(text, "open") {
				want = "bearer64.YS9iKz0 Welcome"
			}
			if !strings.Contains(text, want) {
				t.Errorf("report of the browser: %s", text)
			}
		case <-time.After(time.Minute):
			t.Fatal("the browser sends no report")
		}
	}
	for name, size := range map[string]int{"form/a %22quoted%22.bin": 100_000, "form/ünï – 音.bin": 100_000, "fetch/a.bin": 200_000, "socket/a.bin": 300_000} {
		path := filepath.Join(dir, "data/uploads/browser", name)
		testutil.Eventually(t, name+" is stored", func() bool { _, err := os.Stat(path); return err == nil })
		if content, err := os.ReadFile(path); err != nil || len(content) != size || bytes.Trim(content, "x") != nil {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}
}

// TestE2EUploadMemory checks the memory of a child that receives eight uploads of
// 512 MiB at once, with a pool of four.
func TestE2EUploadMemory(t *testing.T) {
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-upload-pool", "4", "-on-upload", "")
	const size = 512 << 20
	pid := g.Slots(t)["serve.0"].PID
	idle := harness.PeakMemory(t, pid)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			name := strconv.Itoa(i)
			head := "--b\r\nContent-Disposition: form-data; name=big; filename=" + name + "\r\n\r\n"
			body := io.MultiReader(strings.NewReader(head), &harness.Zeros{N: size}, strings.NewReader("\r\n--b--\r\n"))
			resp, err := http.Post(g.URL+"/upload", "multipart/form-data; boundary=b", body)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var response harness.UploadResponse
			if err := json.NewDecoder(resp.Body).Decode(&response); err != nil || response.Code != 200 || response.Files[0].Size != size {
				t.Errorf("%+v, %v", response, err)
			}
			if err := os.Remove(filepath.Join(dir, "data/uploads/big", name)); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	most := harness.PeakMemory(t, pid)
	t.Logf("peak memory: %.1f MiB idle, %.1f MiB after 8 times 512 MiB", float64(idle)/(1<<20), float64(most)/(1<<20))
	if most > 60<<20 {
		t.Errorf("the child's memory rose to %d bytes; want at most 60 MiB", most)
	}
}

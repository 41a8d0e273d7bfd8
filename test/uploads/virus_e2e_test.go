//go:build e2e

package uploads_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// signature is the text that the test's signature of ClamAV finds.
const signature = "gale-test-signature-of-a-virus"

// startClamd starts a clamd with one hand-made signature, and returns its configuration for
// clamdscan.
func startClamd(t *testing.T) (config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd") // the path of a socket has at most 108 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	database, socket := filepath.Join(dir, "db"), filepath.Join(dir, "socket")
	config = filepath.Join(dir, "clamd.conf")
	line := "Gale.Test:0:*:" + hex.EncodeToString([]byte(signature)) + "\n" // any file, any offset
	text := fmt.Sprintf("Foreground yes\nDatabaseDirectory %s\nLocalSocket %s\nUser root\n", database, socket)
	if os.Getuid() != 0 {
		text = strings.Replace(text, "User root\n", "", 1)
	}
	for _, err := range []error{os.Mkdir(database, 0o700), os.WriteFile(filepath.Join(database, "test.ndb"), []byte(line), 0o600), os.WriteFile(config, []byte(text), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.Command("/usr/sbin/clamd", "--config-file="+config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("clamd: %s", log.String())
		}
	})
	testutil.Eventually(t, "clamd accepts connections", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return config
}

// TestE2EVirus uploads a good and an infected file in every way, with clamdscan as the task of
// the quarantine, while clients try to get them all the time. The infected file is never
// served, and the good one appears.
func TestE2EVirus(t *testing.T) {
	clamd := startClamd(t)
	for name, storage := range map[string]func(*testing.T) []string{
		"folder": func(*testing.T) []string { return nil },
		"object storage": func(t *testing.T) []string {
			s3test.Setenv(t)
			return []string{"-files", s3test.Start(t, t.TempDir()).URL("prefix")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tasks := filepath.Join(dir, "tasks.toml")
			text := fmt.Sprintf("[tasks.scan]\nargv = [\"clamdscan\", \"--config-file=%s\", \"--fdpass\", \"--no-summary\", \"{file}\"]\ntimeout = \"5m\"\nretry_codes = [2]\n", clamd)
			if err := os.WriteFile(tasks, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			g := harness.Start(t, dir, append([]string{"-procs", "2", "-workers", "1", "-tasks", tasks, "-quarantine", "scan", "-on-upload", "", "-upload-types", "*"}, storage(t)...)...)
			virusUploads(t, g)
		})
	}
}

func virusUploads(t *testing.T, g *harness.Server) {
	good := []byte(strings.Repeat("nothing bad ", 10_000))
	bad := append(bytes.Clone(good), signature...)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	defer clients.Wait()
	defer close(stop)
	for _, way := range []string{"put", "form", "tus"} {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, _, err := harness.Get(g.URL + "/upload/v/bad-" + way); err == nil && status != http.StatusNotFound {
					t.Errorf("the infected file of %s: %d", way, status)
					return
				}
				if _, text, err := harness.Get(g.URL + "/upload/v/"); err == nil && strings.Contains(text, `"bad-`) {
					t.Errorf("in the list: %s", text)
					return
				}
			}
		})
	}
	ids := map[string]string{}
	for kind, content := range map[string][]byte{"good": good, "bad": bad} {
		for way, id := range uploadEveryWay(t, g, kind, content) {
			ids[kind+"-"+way] = id
		}
	}
	for name, id := range ids {
		var task struct{ State, Error string }
		harness.GetJSON(t, g.URL+"/tasks/"+id+"?wait=60s", &task)
		if infected := strings.HasPrefix(name, "bad"); infected != (task.State == "failed" && strings.Contains(task.Error, "Gale.Test")) || !infected && task.State != "success" {
			t.Errorf("%s: %+v", name, task)
		}
	}
	for name := range ids {
		if strings.HasPrefix(name, "bad") {
			testutil.Eventually(t, "the name of "+name+" is free again", func() bool {
				resp, _ := harness.Request(t, "PUT", g.URL+"/upload/v/"+name, signature)
				return resp.StatusCode == http.StatusOK
			})
			continue
		}
		testutil.Eventually(t, name+" can be read", func() bool {
			status, text, err := harness.Get(g.URL + "/upload/v/" + name)
			return err == nil && status == http.StatusOK && text == string(good)
		})
	}
	testutil.Eventually(t, "all files have left the quarantine", func() bool {
		m := g.Metrics(t)
		return m.Sum("gale_upload_quarantine_total", "result=released") == 3 && m.Sum("gale_upload_quarantine_total", "result=removed") == 6
	})
}

// uploadEveryWay uploads a file by PUT, in a form and by tus, and returns the ids of the tasks.
func uploadEveryWay(t *testing.T, g *harness.Server, kind string, content []byte) map[string]string {
	t.Helper()
	ids := map[string]string{}
	var r harness.UploadResponse
	a, err := putUpload(g, "v/"+kind+"-put", bytes.NewReader(content))
	if err != nil || a.Code != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	ids["put"] = a.Files[0].Task
	boundary, form := harness.UploadForm("v", kind+"-form", content)
	if resp, text := harness.Request(t, "POST", g.URL+"/upload", string(form), "Content-Type", boundary); resp.StatusCode != http.StatusOK || json.Unmarshal([]byte(text), &r) != nil {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	ids["form"] = r.Files[0].Task
	b, err := harness.TusDo(g, "POST", "/tus/", io.Reader(bytes.NewReader(content)), fmt.Sprintf("Upload-Length: %d", len(content)),
		"Content-Type: application/offset+octet-stream", harness.TusMetadata("filename", kind+"-tus", "directory", "v"))
	if err != nil || b.Status != 201 {
		t.Fatalf("%+v, %v", b, err)
	}
	ids["tus"] = b.Header.Get("Upload-Task")
	return ids
}

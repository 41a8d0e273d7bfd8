//go:build e2e

package storage_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/s3"
	"github.com/galeserver/gale/uploads/tus"
	"github.com/galeserver/gale/uploads/tus/tustest"
)

// resumable is a place for resumable uploads in object storage.
type resumable struct{ url, redis string }

func (p resumable) Open(t testing.TB, files uploads.Options, o tus.Options) (*tus.Server, *uploads.Store) {
	t.Helper()
	target, err := s3.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := s3.Open(target, s3.Options{Temp: t.TempDir(), PartSize: 5 << 20, Timeout: time.Minute})
	if err == nil {
		err = bucket.Probe(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	address, err := redis.ParseURL(p.redis)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(address)
	store := uploads.New(bucket.Backend(), files)
	o.Place = bucket.Resumable(store, rdb)
	s, err := tus.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), store.Close(), rdb.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, store
}

// TestE2EStorageTusConformance checks resumable uploads in object storage.
func TestE2EStorageTusConformance(t *testing.T) {
	s3test.Setenv(t)
	gateway, rdb := s3test.Start(t, t.TempDir()), redistest.Start(t)
	var n atomic.Int64
	tustest.Run(t, 5<<20, func(testing.TB) tustest.Place {
		return resumable{gateway.URL("tus/" + strconv.FormatInt(n.Add(1), 10)), rdb.URL()}
	})
}

// TestE2EStorageTusTwoServers uploads 200 MiB with tus-js-client to two servers behind nginx,
// which sends each request to the next one. Meanwhile each server is killed twice.
func TestE2EStorageTusTwoServers(t *testing.T) {
	s3test.Setenv(t)
	client := harness.InstallNPM(t, harness.TusJSClient)
	script, err := os.ReadFile("test/tus/testdata/tus.mjs")
	if err != nil || os.WriteFile(filepath.Join(client, "tus.mjs"), script, 0o600) != nil {
		t.Fatal(err)
	}
	const size = 200 << 20
	file := filepath.Join(client, "big.bin")
	if err := os.WriteFile(file, harness.UploadContent(7, size), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := harness.FileSHA256(t, file)
	for _, row := range []struct {
		name     string
		parallel int
		chunk    string
	}{{"one request", 1, ""}, {"chunks in parallel", 3, strconv.Itoa(11 << 20)}} {
		t.Run(row.name, func(t *testing.T) {
			gateway, rdb := s3test.Start(t, t.TempDir()), redistest.Start(t)
			var servers [2]*harness.Server
			var ports [2]string
			launch := func(i int) {
				g, err := harness.Launch(t.TempDir(), "-files", gateway.URL("prefix"), "-redis", rdb.URL(), "-port", ports[i], "-procs", "2", "-workers", "0", "-on-upload", "")
				servers[i] = harness.MustStart(t, g, err)
			}
			for i := range servers {
				ports[i] = harness.FreePort(t)
				launch(i)
			}
			url := harness.StartBalancer(t, "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1])
			const rate = 40 << 20 // bytes a second: the upload takes five seconds
			cmd := exec.Command("node", filepath.Join(client, "tus.mjs"), url, file, "js", strconv.Itoa(row.parallel), strconv.Itoa(rate), url+"/tus/", row.chunk)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil || cmd.Start() != nil {
				t.Fatal("node has not started")
			}
			kills, last := 0, ""
			for lines := bufio.NewScanner(out); lines.Scan(); {
				last = lines.Text()
				var sent, total int64
				if n, _ := fmt.Sscanf(last, "progress %d %d", &sent, &total); n == 2 && total > 0 && kills < 4 && int(sent*100/total) > 20*(kills+1) {
					killAll(t, servers[kills%2])
					launch(kills % 2)
					kills++
				}
			}
			if err := cmd.Wait(); err != nil || !strings.HasPrefix(last, "done") {
				t.Fatalf("%v, %q", err, last)
			}
			t.Logf("%d kills: %s", kills, last)
			var address string
			var retries int
			if _, err := fmt.Sscanf(last, "done %s %d", &address, &retries); err != nil || kills != 4 || row.parallel == 1 && retries < 2 { // the library does not count those of parallel uploads
				t.Errorf("too few kills for a test: %v", err)
			}
			digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
			for _, g := range servers {
				state, err := harness.TusDo(g, "HEAD", strings.TrimPrefix(address, url), nil)
				if err != nil || state.Header.Get("Repr-Digest") != digest {
					t.Errorf("%+v, %v", state, err)
				}
			}
			if harness.FileSHA256(t, filepath.Join(gateway.Dir, "prefix/js/big.bin")) != sum {
				t.Error("the stored file has other content")
			}
			testutil.Eventually(t, "only the file is left", func() bool { return len(objects(t, gateway)) == 1 && parts(gateway) == 0 })
		})
	}
}

// killAll kills the master of a server and all its children.
func killAll(t *testing.T, g *harness.Server) {
	t.Helper()
	slots := g.Slots(t)
	_ = g.Cmd.Process.Kill()
	for _, s := range slots {
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
	}
	g.Kill() // waits
}

// TestE2EStorageTusMemory uploads a large file by tus.
func TestE2EStorageTusMemory(t *testing.T) {
	gateway, g, dir := start(t, "-procs", "1", "-workers", "0", "-on-upload", "")
	const size = 1 << 30
	pid := g.Slots(t)["serve.0"].PID
	idle := harness.PeakMemory(t, pid)
	req, err := http.NewRequest(http.MethodPost, g.URL+"/tus/", io.NopCloser(&harness.Zeros{N: size}))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Tus-Resumable": tus.Version, "Upload-Length": strconv.Itoa(size), "Content-Type": "application/offset+octet-stream",
		"Upload-Metadata": "filename YQ==,directory Ymln",
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if text := harness.ReadAll(t, resp); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	checkMemory(t, pid, idle)
	if info, err := os.Stat(filepath.Join(gateway.Dir, "prefix/big/a")); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "data/uploads/*")); err != nil || len(left) != 0 {
		t.Errorf("in the folder: %q, %v", left, err)
	}
}

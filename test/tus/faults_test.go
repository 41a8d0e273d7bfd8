package tus_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// tusFaults counts the faults of TestTusUnderFaults.
type tusFaults struct{ kills, stalls, breaks, takeovers, mismatches, slowest atomic.Int64 }

func (f *tusFaults) sum() int64 {
	return f.kills.Load() + f.stalls.Load() + f.breaks.Load() + f.takeovers.Load() + f.mismatches.Load()
}

// tusClient uploads one file with every kind of interruption.
type tusClient struct {
	t        *testing.T
	g        *harness.Server
	faults   *tusFaults
	name     string
	content  []byte
	location string
	acked    int        // number of bytes that the server has acknowledged
	hanging  []net.Conn // connections of requests that stopped in the middle
}

// again repeats a request until it gets a response: children are killed meanwhile.
func (c *tusClient) again(method, path string, body []byte, fields ...string) harness.TusResponse {
	for deadline := time.Now().Add(60 * time.Second); ; <-time.After(5 * time.Millisecond) {
		began := time.Now()
		a, err := harness.TusDo(c.g, method, path, bytes.NewReader(body), fields...)
		if took := time.Since(began).Milliseconds(); err == nil && took > c.faults.slowest.Load() {
			c.faults.slowest.Store(took)
		}
		if err == nil && a.Status != http.StatusServiceUnavailable {
			return a
		}
		if time.Now().After(deadline) {
			c.t.Errorf("%s %s: no response: %d, %v", method, path, a.Status, err)
			return a
		}
	}
}

// offset requests the offset of the upload. It must not be less than what was
// acknowledged, and no stopped or dead request may lock the upload.
func (c *tusClient) offset() int {
	a := c.again("HEAD", c.location, nil)
	n, err := strconv.Atoi(a.Header.Get("Upload-Offset"))
	if err != nil || a.Status != 200 || n < c.acked || n > len(c.content) {
		c.t.Errorf("%s: HEAD: %d, offset %q; %d of %d bytes were acknowledged", c.name, a.Status, a.Header.Get("Upload-Offset"), c.acked, len(c.content))
		return -1
	}
	if len(c.hanging) > 0 {
		c.faults.takeovers.Add(1)
	}
	for _, conn := range c.hanging {
		_ = conn.Close()
	}
	c.hanging = nil
	c.acked = n
	return n
}

// half announces the rest of the file and sends only a part of it. Then it leaves the
// connection open, or closes it.
func (c *tusClient) half(from int) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.g.URL, "http://"))
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: a\r\n%s\r\n%s\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n\r\n",
		c.location, harness.Resumable, harness.OffsetStream, from, len(c.content)-from)
	_, _ = conn.Write(c.content[from : from+rand.IntN(len(c.content)-from)])
	if rand.IntN(2) == 0 {
		c.faults.breaks.Add(1)
		_ = conn.Close()
		return
	}
	c.faults.stalls.Add(1)
	c.hanging = append(c.hanging, conn)
}

func (c *tusClient) run() {
	a := c.again("POST", "/tus/", nil, fmt.Sprintf("Upload-Length: %d", len(c.content)), harness.TusMetadata("filename", c.name, "directory", "chaos"))
	if c.location = a.Header.Get("Location"); a.Status != 201 {
		c.t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		return
	}
	for step := 0; ; step++ {
		at := c.offset()
		if at < 0 || at == len(c.content) {
			return
		}
		kind := rand.IntN(6)
		if step < 3 {
			kind = rand.IntN(4)
		}
		switch kind {
		case 0, 1, 2:
			c.half(at)
			continue
		case 3: // other bytes than the checksum is of
			sum := sha256.Sum256([]byte("other"))
			a := c.patch(at, checksum("sha256", sum[:]))
			if a.Status == 204 {
				c.t.Errorf("%s: a wrong checksum was accepted", c.name)
			}
			c.faults.mismatches.Add(1)
		case 4:
			end := at + rand.IntN(len(c.content)-at) + 1
			if a := c.patch(at, "", end); a.Status == 204 {
				c.acked = end
			}
		case 5:
			if a := c.patch(at, ""); a.Status == 204 {
				c.acked = len(c.content)
			}
		}
	}
}

// patch sends the bytes between two offsets, by default the rest. The child may be
// killed meanwhile.
func (c *tusClient) patch(from int, sum string, to ...int) harness.TusResponse {
	end := append(to, len(c.content))[0]
	fields := []string{harness.OffsetStream, fmt.Sprintf("Upload-Offset: %d", from)}
	if sum != "" {
		fields = append(fields, sum)
	}
	a, _ := harness.TusDo(c.g, "PATCH", c.location, bytes.NewReader(c.content[from:end]), fields...)
	return a
}

// 200 kills, stalls, disconnects and takeovers with three children. The files have no
// wrong byte, no offset is less than what was acknowledged, and no stopped or dead
// request locks an upload.
func TestTusUnderFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "3", "-workers", "0", "-on-upload", "")
	const clients, least, kills = 6, 200, 25
	var faults tusFaults
	var next atomic.Int64
	var load sync.WaitGroup
	var mu sync.Mutex
	sent := map[string][]byte{}
	for range clients {
		load.Go(func() { // ends after enough faults
			for (faults.sum() < least || faults.kills.Load() < kills) && !t.Failed() {
				i := int(next.Add(1))
				c := &tusClient{t: t, g: g, faults: &faults, name: fmt.Sprintf("%03d.bin", i), content: harness.UploadContent(i, 1+rand.IntN(1<<20))}
				c.run()
				mu.Lock()
				sent[c.name] = c.content
				mu.Unlock()
			}
		})
	}
	finished := make(chan struct{})
	go func() { load.Wait(); close(finished) }() // ends with the load
	reloaded := false
	for over := false; !over; {
		victim := g.Slots(t)[fmt.Sprintf("serve.%d", rand.IntN(3))]
		select {
		case <-finished:
			over = true
		case <-time.After(50*time.Millisecond + rand.N(100*time.Millisecond)):
		}
		if victim.State == "live" && syscall.Kill(victim.PID, syscall.SIGKILL) == nil {
			faults.kills.Add(1)
		}
		if !reloaded && faults.sum() > least/2 {
			reloaded = g.Cmd.Process.Signal(syscall.SIGHUP) == nil
		}
	}
	t.Logf("%d kills, %d stalls, %d disconnects, %d takeovers, %d wrong checksums; %d files; the slowest response took %d ms", faults.kills.Load(),
		faults.stalls.Load(), faults.breaks.Load(), faults.takeovers.Load(), faults.mismatches.Load(), len(sent), faults.slowest.Load())
	if faults.kills.Load() < kills || faults.takeovers.Load() < 5 || !reloaded {
		t.Error("too few faults for a test")
	}
	for name, content := range sent {
		got, err := os.ReadFile(filepath.Join(dir, "data/uploads/chaos", name))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s has %d bytes of %d, or other content: %v", name, len(got), len(content), err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "data/uploads/chaos"))
	if err != nil || len(entries) != len(sent) {
		t.Errorf("%d files, %d sent: %v", len(entries), len(sent), err)
	}
	if n := strings.Count(g.Log.String(), "upload lost"); n > 0 {
		t.Errorf("%d uploads were lost", n)
	}
}

// If the disk is full in the middle of an upload the response is 507, and the received
// bytes are kept. The client continues when there is space again.
func TestTusOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := harness.SmallDisk(t, dir)
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-upload-dir", disk, "-on-upload", "")
	content := harness.UploadContent(1, 3<<20)
	c := &tusClient{t: t, g: g, faults: &tusFaults{}, name: "big", content: content}
	a := c.again("POST", "/tus/", nil, fmt.Sprintf("Upload-Length: %d", len(content)), harness.TusMetadata("filename", "big"))
	c.location = a.Header.Get("Location")
	if a := c.patch(0, ""); a.Status != 507 || !strings.Contains(a.Body, "no space left") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	at := c.offset()
	if at < 256<<10 || at >= 1<<20 {
		t.Errorf("offset %d of a disk of 1 MiB", at)
	}
	if a := c.patch(at, ""); a.Status != 507 {
		t.Errorf("again: %d %s", a.Status, a.Body)
	}
	if err := os.WriteFile(filepath.Join(disk, "rest"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the disk is not full: %v", err)
	}
	if a := c.again("POST", "/tus/", nil, "Upload-Length: 1", harness.TusMetadata("filename", "small")); a.Status != 507 {
		t.Errorf("an upload on a full disk: %d %s", a.Status, a.Body)
	}
	if at := c.offset(); at < 256<<10 {
		t.Errorf("offset %d after the refused upload", at)
	}
	if err := syscall.Mount("gale-test", disk, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if a := c.patch(c.offset(), ""); a.Status != 204 {
		t.Errorf("with space again: %d %s", a.Status, a.Body)
	}
	if got, err := os.ReadFile(filepath.Join(disk, "tus/big")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, or others: %v", len(got), err)
	}
	if !strings.Contains(g.Log.String(), "no space left on device") {
		t.Error("the error is not in the log")
	}
}

// Fifty uploads at once, in pieces and through a pool of two, need little memory.
func TestTusMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-upload-pool", "2", "-on-upload", "")
	const many, size, pieces = 50, 4 << 20, 4
	pid := g.Slots(t)["serve.0"].PID
	idle := harness.PeakMemory(t, pid)
	var clients sync.WaitGroup
	for i := range many {
		clients.Go(func() { // ends with its file
			name := strconv.Itoa(i)
			a, err := harness.TusDo(g, "POST", "/tus/", nil, fmt.Sprintf("Upload-Length: %d", size), harness.TusMetadata("filename", name))
			if err != nil || a.Status != 201 {
				t.Errorf("%s: %+v, %v", name, a, err)
				return
			}
			location, whole := a.Header.Get("Location"), sha256.New()
			for n := range pieces {
				body := io.TeeReader(io.MultiReader(strings.NewReader(name), &harness.Zeros{N: int64(size/pieces - len(name))}), whole)
				a, err = harness.TusDo(g, "PATCH", location, body, harness.OffsetStream, fmt.Sprintf("Upload-Offset: %d", n*size/pieces)) // without a length
				if err != nil || a.Status != 204 {
					t.Errorf("%s, piece %d: %+v, %v", name, n, a, err)
					return
				}
			}
			a, err = harness.TusDo(g, "GET", location, nil)
			var response harness.UploadResponse
			if err != nil || json.Unmarshal([]byte(a.Body), &response) != nil || len(response.Files) != 1 || response.Files[0].SHA256 != hex.EncodeToString(whole.Sum(nil)) {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		})
	}
	clients.Wait()
	grown := harness.PeakMemory(t, pid) - idle
	t.Logf("peak memory: %.1f MiB idle, %.1f MiB more with %d uploads", float64(idle)/(1<<20), float64(grown)/(1<<20), many)
	if limit := int64(40 << 20); grown > limit && !harness.RaceEnabled {
		t.Errorf("the child's peak memory grew by %d bytes; want at most %d", grown, limit)
	}
}

package uploads_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// postUpload sends a request on its own connection.
func postUpload(g *harness.Server, contentType string, body []byte) (a harness.UploadResponse, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Post(g.URL+"/upload", contentType, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// 64 clients upload under the same name to two processes, by form or PUT. One of them
// succeeds.
func TestUploadRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0")
	const racers, size = 64, 300 << 10
	var codes [racers]int
	var ready, done sync.WaitGroup
	ready.Add(1)
	for i := range racers {
		contentType, body := harness.UploadForm("race", "it.bin", harness.UploadContent(i, size))
		done.Go(func() {
			ready.Wait()
			var a harness.UploadResponse
			var err error
			if i%2 == 0 {
				a, err = postUpload(g, contentType, body)
			} else {
				a, err = putUpload(g, "race/it.bin", bytes.NewReader(harness.UploadContent(i, size)))
			}
			if err != nil {
				t.Errorf("racer %d: %v", i, err)
			}
			codes[i] = a.Code
		})
	}
	ready.Done()
	done.Wait()
	won := -1
	for i, code := range codes {
		switch {
		case code == 200 && won < 0:
			won = i
		case code != 501:
			t.Errorf("racer %d: code %d", i, code)
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "data/uploads/race/it.bin"))
	if err != nil || won < 0 || !bytes.Equal(content, harness.UploadContent(won, size)) {
		t.Errorf("the file is not that of client %d: %d bytes, %v", won, len(content), err)
	}
}

// sentUpload is an upload of TestUploadsUnderKills and its response.
type sentUpload struct {
	size  int
	acked bool
}

// sendOneWay uploads file i by form, PUT, WebSocket or tus, depending on i.
func sendOneWay(t *testing.T, g *harness.Server, i, size int) (acked bool, err error) {
	name, content := fmt.Sprintf("%03d.mp3", i), harness.UploadContent(i, size)
	switch i % 5 {
	case 0:
		a, err := postUpload(g, "application/x-www-form-urlencoded", []byte(url.Values{
			"directory": {"killed"}, "filename": {name}, "body": {string(content)},
		}.Encode()))
		return a.Code == 200, err
	case 1:
		contentType, body := harness.UploadForm("killed", name, content)
		a, err := postUpload(g, contentType, body)
		return a.Code == 200, err
	case 2:
		a, err := harness.TusDo(g, "POST", "/tus/", bytes.NewReader(content), harness.OffsetStream, fmt.Sprintf("Upload-Length: %d", size),
			harness.TusMetadata("directory", "killed", "filename", name))
		return a.Status == http.StatusCreated, err
	case 3:
		a, err := putUpload(g, "killed/"+name, bytes.NewReader(content))
		return a.Code == 200, err
	}
	conn, _, err := websocket.DefaultDialer.Dial(strings.Replace(g.URL, "http", "ws", 1)+"/upload?directory=killed&filename="+name, nil)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	for len(content) > 0 {
		n := min(len(content), 100<<10)
		if err := conn.WriteMessage(websocket.BinaryMessage, content[:n]); err != nil {
			return false, err
		}
		if _, _, err := conn.ReadMessage(); err != nil {
			return false, err
		}
		content = content[n:]
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte("done")); err != nil {
		return false, err
	}
	_, text, err := conn.ReadMessage()
	return strings.Contains(string(text), `"code":200`), err
}

// 200 uploads by every route, while their processes are killed, and in the end the
// master. Each file is whole or absent, every file with a 200 response is there, and
// each stored file has exactly one task.
func TestUploadsUnderKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0")
	const files, clients = 200, 4
	var sent [files]sentUpload
	var next, broken atomic.Int64
	var load sync.WaitGroup
	for range clients {
		load.Go(func() { // ends with the last file
			for i := int(next.Add(1)) - 1; i < files; i = int(next.Add(1)) - 1 {
				sent[i].size = 1 + i*i%300*1024 // up to 300 KiB; the form's limit is 1 MiB, encoded
				acked, err := sendOneWay(t, g, i, sent[i].size)
				if sent[i].acked = acked; err != nil {
					broken.Add(1)
				}
			}
		})
	}
	kills := 0
	finished := make(chan struct{})
	go func() { load.Wait(); close(finished) }() // ends with the load
	for over := false; !over; {
		slot := fmt.Sprintf("serve.%d", rand.IntN(2))
		victim := g.Slots(t)[slot]
		select {
		case <-finished:
			over = true
		case <-time.After(rand.N(40 * time.Millisecond)):
		}
		if next.Load() > files*9/10 {
			_ = g.Cmd.Process.Kill() // the master, which ends its children
			break
		}
		if victim.State == "live" && syscall.Kill(victim.PID, syscall.SIGKILL) == nil {
			kills++
		}
	}
	<-finished
	g.Kill()
	stored := checkKilled(t, filepath.Join(dir, "data/uploads"), sent[:])
	t.Logf("%d kills, %d of %d uploads lost their connection, %d are stored", kills, broken.Load(), files, stored)
	if kills < 3 || broken.Load() == 0 || stored == 0 {
		t.Error("too few kills or uploads for a test")
	}
	g = harness.Start(t, dir, "-procs", "2", "-workers", "0")
	checkTasks(t, g, filepath.Join(dir, "data/uploads"))
	checkKilled(t, filepath.Join(dir, "data/uploads"), sent[:])
	if left, err := os.ReadDir(filepath.Join(dir, "data/uploads/.incoming")); err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != 0 {
		t.Errorf("not swept: %v, %v", left, err)
	}
}

// checkTasks waits until each file in the folder killed has its inspect task, and
// checks that none has two.
func checkTasks(t *testing.T, g *harness.Server, root string) {
	t.Helper()
	var counts map[string]int
	testutil.Eventually(t, "each file has its task", func() bool {
		if left, err := os.ReadDir(filepath.Join(root, ".pending")); err != nil || len(left) > 0 {
			return false
		}
		counts = inspected(t, g, "killed")
		entries, err := os.ReadDir(filepath.Join(root, "killed"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if counts[e.Name()] == 0 {
				return false
			}
		}
		return true
	})
	for name, n := range counts {
		if _, err := os.Lstat(filepath.Join(root, "killed", name)); err != nil || n != 1 {
			t.Errorf("%s has %d tasks, %v", name, n, err)
		}
	}
}

// inspected counts the inspect tasks of a directory by filename.
func inspected(t *testing.T, g *harness.Server, directory string) map[string]int {
	t.Helper()
	var page struct {
		Tasks []struct{ Args []string }
		Next  *string
	}
	harness.GetJSON(t, g.URL+"/tasks?task=inspect&limit=500", &page)
	if page.Next != nil {
		t.Fatal("there are more than 500 tasks")
	}
	counts := map[string]int{}
	for _, task := range page.Tasks {
		if task.Args[0] == directory {
			counts[task.Args[1]]++
		}
	}
	return counts
}

// Without the task store files are still stored, by every route, and the responses say
// that their tasks start later. They are started when the task store is available
// again, even if the process that stored the files was killed. A file that was removed
// gets no task.
func TestUploadsWithoutTaskStore(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-broker", redis.URL())
	redis.Kill()
	for i := range 8 {
		if acked, err := sendOneWay(t, g, i, 1000); err != nil || !acked {
			t.Errorf("file %d: %v, %v", i, acked, err)
		}
	}
	contentType, body := harness.UploadForm("killed", "removed.mp3", []byte("content"))
	a, err := postUpload(g, contentType, body)
	if err != nil || a.Code != 200 || len(a.Files) != 1 || a.Files[0].Task == "" ||
		a.Files[0].Reason != "stored; inspect will be started as soon as tasks are accepted again" {
		t.Errorf("%+v, %v", a, err)
	}
	if code := harness.SendJSON(t, "DELETE", g.URL+"/upload?directory=killed&filename=removed.mp3", "", new(harness.UploadResponse)); code != 200 {
		t.Errorf("DELETE: %d", code)
	}
	for slot, s := range g.Slots(t) {
		if strings.HasPrefix(slot, "serve.") {
			_ = syscall.Kill(s.PID, syscall.SIGKILL)
		}
	}
	redis.Restart(t)
	harness.AwaitReady(t, g, http.StatusOK)
	checkTasks(t, g, filepath.Join(dir, "data/uploads"))
	if counts := inspected(t, g, "killed"); len(counts) != 8 {
		t.Errorf("tasks: %v", counts)
	}
	_, text, err := harness.Get("http://" + g.Admin + "/metrics")
	if err != nil || !strings.Contains(text, "gale_upload_tasks_deferred_total") {
		t.Errorf("the metrics do not count the missing tasks: %v", err)
	}
}

// checkKilled compares the stored files with the sent ones.
func checkKilled(t *testing.T, root string, sent []sentUpload) (stored int) {
	t.Helper()
	for i, s := range sent {
		content, err := os.ReadFile(filepath.Join(root, "killed", fmt.Sprintf("%03d.mp3", i)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if s.acked {
				t.Errorf("file %d had a 200 response and is missing", i)
			}
		case err != nil || !bytes.Equal(content, harness.UploadContent(i, s.size)):
			t.Errorf("file %d has %d bytes of %d, or other content: %v", i, len(content), s.size, err)
		default:
			stored++
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, "killed"))
	if err != nil || len(entries) != stored {
		t.Errorf("%d entries, %d files: %v", len(entries), stored, err)
	}
	return stored
}

// On a full disk every route responds 507 and leaves no file. Files that fit into the
// remaining space are stored.
func TestUploadToAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := harness.SmallDisk(t, dir)
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-upload-dir", disk, "-max-body", "8MiB", "-on-upload", "")
	free := func() uint64 {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		return s.Bfree
	}
	before := free()
	big := bytes.Repeat([]byte("x"), 2<<20)
	for name, send := range map[string]func() (string, error){
		"multipart": func() (string, error) {
			contentType, body := harness.UploadForm("d/new", "big", big)
			a, err := postUpload(g, contentType, body)
			return strconv.Itoa(a.Code), err
		},
		"urlencoded": func() (string, error) {
			a, err := postUpload(g, "application/x-www-form-urlencoded", []byte("directory=d/new&filename=big.mp3&body="+string(big)))
			return strconv.Itoa(a.Code), err
		},
		"put": func() (string, error) {
			a, err := putUpload(g, "d/new/big", bytes.NewReader(big))
			return strconv.Itoa(a.Code), err
		},
		"websocket": func() (string, error) {
			conn := uploadSocket(t, g, "?directory=d/new&filename=big", nil)
			return harness.SendMessage(t, conn, websocket.BinaryMessage, string(big)), nil
		},
	} {
		if got, err := send(); err != nil || !strings.Contains(got, "507") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		testutil.Eventually(t, name+": its space is free again", func() bool { return free() == before })
		if left, err := os.ReadDir(filepath.Join(disk, "d")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s left %v, %v", name, left, err)
		}
		contentType, body := harness.UploadForm("small", name, []byte("content"))
		if a, err := postUpload(g, contentType, body); err != nil || a.Code != 200 {
			t.Errorf("a small file after %s: %+v, %v", name, a, err)
		}
		before = free()
	}
	// The log comes through a pipe, and may arrive after the responses.
	said := func() int { return strings.Count(g.Log.String(), "no space left on device") }
	testutil.Eventually(t, "the log has four errors", func() bool { return said() >= 4 })
	if n := said(); n != 4 {
		t.Errorf("the log has %d errors", n)
	}
}

// Clients that stop sending in the middle of a body do not occupy the upload pool,
// which has one goroutine here.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-upload-pool", "1", "-on-upload", "")
	type sender struct {
		net.Conn
		rest []byte
	}
	var slow []sender
	for i := range 16 {
		contentType, body := harness.UploadForm("slow", strconv.Itoa(i), harness.UploadContent(i, 600<<10))
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body[:400<<10]); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, sender{conn, body[400<<10:]})
	}
	contentType, body := harness.UploadForm("quick", "a", []byte("content"))
	if a, err := postUpload(g, contentType, body); err != nil || a.Code != 200 {
		t.Errorf("an upload with slow clients: %+v, %v", a, err)
	}
	for i, s := range slow {
		if _, err := s.Write(s.rest); err != nil {
			t.Fatal(err)
		}
		response, err := io.ReadAll(s)
		sum := sha256.Sum256(harness.UploadContent(i, 600<<10))
		if err != nil || !bytes.Contains(response, []byte(hex.EncodeToString(sum[:]))) {
			t.Errorf("slow client %d: %s, %v", i, response, err)
		}
	}
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
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
)

type taskObject struct {
	ID, State, Error string
	Attempts         int
	Result           json.RawMessage
}

// startTask starts long_running_task and returns its id.
func startTask(t *testing.T, g *gale, data string) string {
	t.Helper()
	_, body, err := get(g.url + "/start-task?data=" + data)
	id, ok := strings.CutPrefix(body, "Task started: ")
	if err != nil || !ok {
		t.Fatalf("start-task: %q, %v", body, err)
	}
	return id
}

// awaitTask waits until the task has ended.
func awaitTask(t *testing.T, g *gale, id string) (task taskObject) {
	t.Helper()
	eventually(t, "task "+id+" ends", func() bool {
		if code, _, err := get(g.url + "/tasks/" + id); err == nil && code == http.StatusServiceUnavailable {
			return false // its store is away, or just back
		}
		getJSON(t, g.url+"/tasks/"+id+"?wait=5s", &task)
		return task.State == "success" || task.State == "failed" || task.State == "dead"
	})
	return task
}

func awaitRunning(t *testing.T, g *gale, id string) {
	t.Helper()
	eventually(t, "task "+id+" runs", func() bool {
		var task taskObject
		getJSON(t, g.url+"/tasks/"+id, &task)
		return task.State == "running"
	})
}

// A worker that is killed in the middle of a task loses it to its successor.
func TestKilledWorkersTaskEndsInSuccess(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-concurrency", "4")
	var ids []string
	for i := range 3 {
		ids = append(ids, startTask(t, g, strconv.Itoa(i)))
	}
	for _, id := range ids {
		awaitRunning(t, g, id)
	}
	began := time.Now()
	_ = syscall.Kill(g.slots(t)["worker.0"].PID, syscall.SIGKILL)
	for i, id := range ids {
		task := awaitTask(t, g, id)
		if task.State != "success" || string(task.Result) != fmt.Sprintf(`"Processed %d"`, i) || task.Attempts != 2 {
			t.Errorf("%+v", task)
		}
	}
	t.Logf("three tasks of 5 s ended %v after the kill", time.Since(began).Round(100*time.Millisecond))
}

// Connections that a killed child has not accepted are answered by its
// successor: nothing is lost but what the child was answering.
func TestKilledChildUnderLoad(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	addr := strings.TrimPrefix(g.url, "http://")
	const clients, kills = 32, 6
	var answered, lost, refused atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range clients {
		load.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := exchange(addr); {
				case err == nil:
					answered.Add(1)
				case strings.HasPrefix(err.Error(), "connect: "):
					refused.Add(1)
				default:
					lost.Add(1)
				}
			}
		})
	}
	for i := range kills {
		slot := fmt.Sprintf("serve.%d", i%2)
		before := answered.Load()
		victim := g.slots(t)[slot]
		_ = syscall.Kill(victim.PID, syscall.SIGKILL)
		eventually(t, "a successor of "+slot, func() bool {
			s := g.slots(t)[slot]
			return s.PID != victim.PID && s.State == "live" && answered.Load() > before
		})
	}
	close(stop)
	load.Wait()
	t.Logf("%d answered, %d lost in flight, %d refused, %d kills", answered.Load(), lost.Load(), refused.Load(), kills)
	// A child can have accepted no more than all the clients have open.
	if refused.Load() != 0 || lost.Load() > kills*clients || answered.Load() < kills*clients {
		t.Errorf("answered %d, lost %d, refused %d", answered.Load(), lost.Load(), refused.Load())
	}
}

// exchange asks for the page on a connection of its own.
func exchange(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasSuffix(answer, []byte("Hello, friendly user!")) {
		err = fmt.Errorf("answer %q", answer)
	}
	return err
}

// A killed master takes everything with it, and the next one finishes the
// tasks that were accepted.
func TestKilledMaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, dir, "-concurrency", "1", "-grace", "3s")
	ids := []string{startTask(t, g, "0"), startTask(t, g, "1"), startTask(t, g, "2")}
	awaitRunning(t, g, ids[0])
	slots := g.slots(t)
	_ = g.cmd.Process.Kill()
	<-g.exited
	for slot, s := range slots {
		eventually(t, slot+" is gone", func() bool { return syscall.Kill(s.PID, 0) != nil })
	}
	if _, _, err := get(g.url); err == nil {
		t.Error("somebody still answers")
	}
	g = start(t, dir, "-concurrency", "4")
	for i, id := range ids {
		if task := awaitTask(t, g, id); task.State != "success" || string(task.Result) != fmt.Sprintf(`"Processed %d"`, i) {
			t.Errorf("%+v", task)
		}
	}
}

// Workers alone, on the same folder, do what the server accepted.
func TestWorkersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, dir, "-workers", "0")
	answer := upload(t, g, "speech", "testdata/speech.wav")
	var task taskObject
	getJSON(t, g.url+"/tasks/"+answer.Files[0].Task+"?wait=0.3", &task)
	if task.State != "queued" {
		t.Fatalf("without a worker: %+v", task)
	}
	start(t, dir, "worker", "-procs", "2")
	if task := awaitTask(t, g, answer.Files[0].Task); task.State != "success" {
		t.Errorf("%+v", task)
	}
}

type uploadAnswer struct {
	Reason string
	Code   int
	Files  []struct {
		Code         int
		Size         int64
		SHA256, Task string
		Reason       string
	}
}

func upload(t *testing.T, g *gale, directory, path string) (answer uploadAnswer) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile(directory, filepath.Base(path))
	if err == nil {
		_, err = part.Write(content)
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(g.url+"/upload", form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Code != 200 {
		t.Fatalf("upload: %+v, %v", answer, err)
	}
	return answer
}

// Every child answers, whatever their number.
func TestEveryChildAnswers(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-procs", "3", "-workers", "2")
	slots := g.slots(t)
	if len(slots) != 6 { // the store slot too
		t.Fatalf("slots: %v", slots)
	}
	for slot, s := range slots {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID))
		if err != nil || strings.TrimRight(string(cmdline), "\x00") != "server: "+slot {
			t.Errorf("%s is shown as %q, %v", slot, cmdline, err)
		}
	}
	// A slot that holds connections open is one that has accepted some. One that a
	// busy machine has kept from its heartbeat gets none for a while, so more come.
	addr := strings.TrimPrefix(g.url, "http://")
	var status struct {
		Slots []struct {
			Role        string
			Connections int
		}
	}
	held := 0
	eventually(t, "every child has accepted connections, and all are counted", func() bool {
		getJSON(t, "http://"+g.admin+"/status", &status)
		sum, least := 0, held
		for _, s := range status.Slots {
			if s.Role == "serve" {
				sum, least = sum+s.Connections, min(least, s.Connections)
			}
		}
		if least > 0 {
			return sum == held
		}
		for range 3 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			held++
		}
		return false
	})
}

// zeros is a body of n bytes that is not held in memory.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// peak is the largest resident memory a process has had, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// A gigabyte goes through a child without staying in it; half of one leaves
// nothing behind.
func TestLargeUploads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, dir, "-procs", "1", "-workers", "0")
	pid := g.slots(t)["serve.0"].PID
	idle := peak(t, pid)

	const size = 1 << 30
	head := "--b\r\nContent-Disposition: form-data; name=\"big\"; filename=\"zeros.bin\"\r\n\r\n"
	tail := "\r\n--b--\r\n"
	send := func(contentLength int64, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequest(http.MethodPost, g.url+"/upload", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		req.ContentLength = contentLength
		return http.DefaultClient.Do(req)
	}
	sum := sha256.New()
	whole := io.TeeReader(&zeros{size}, sum)
	resp, err := send(int64(len(head))+size+int64(len(tail)), io.MultiReader(strings.NewReader(head), whole, strings.NewReader(tail)))
	if err != nil {
		t.Fatal(err)
	}
	var answer uploadAnswer
	err = json.NewDecoder(resp.Body).Decode(&answer)
	resp.Body.Close()
	if err != nil || answer.Code != 200 || answer.Files[0].Size != size || answer.Files[0].SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("answer %+v, %v", answer, err)
	}
	grown := peak(t, pid) - idle
	t.Logf("peak memory: %.1f MiB idle, %.1f MiB more after 1 GiB", float64(idle)/(1<<20), float64(grown)/(1<<20))
	if limit := int64(16 << 20); grown > limit && !raceEnabled {
		t.Errorf("the child's peak memory grew by %d bytes; want at most %d", grown, limit)
	}
	if err := os.RemoveAll(filepath.Join(dir, "data/uploads/big")); err != nil {
		t.Error(err)
	}

	// Cut off halfway: the length is promised, the connection ends.
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s", size, head)
	if _, err := io.Copy(conn, &zeros{64 << 20}); err != nil {
		t.Error(err)
	}
	open := func() (n int) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); strings.HasPrefix(target, filepath.Join(dir, "data/uploads")+"/") && !strings.Contains(target, ".resumable") {
				n++
			}
		}
		return n
	}
	eventually(t, "the half file is open", func() bool { return open() == 1 })
	conn.Close()
	eventually(t, "the half file is gone", func() bool { return open() == 0 })
	var left []string
	err = filepath.WalkDir(filepath.Join(dir, "data/uploads"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || d.Name() == "big") {
			left = append(left, path)
		}
		return err
	})
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

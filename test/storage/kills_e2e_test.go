//go:build e2e

package storage_test

import (
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// TestE2EStorageKills uploads fifty sounds to a server while the gateway, the server and the
// worker, which has a folder of its own, are killed. Each upload that succeeded has its file, its
// tasks and their artifacts, and nothing is incomplete. Of 32 uploads under one name, one succeeds.
func TestE2EStorageKills(t *testing.T) {
	redis := redistest.StartDurable(t)
	tasks := harness.TasksFile(t, "[tasks.copy]\nargv = [\"sh\", \"-c\", \"cp \\\"$1\\\" $ARTIFACTS/copy.bin\", \"sh\", \"{file}\"]\non_upload = [\"*.wav\"]\n")
	gateway, g, dir := start(t, "-procs", "2", "-workers", "0", "-redis", redis.URL(), "-tasks", tasks)
	flags := []string{"-files", gateway.URL("prefix"), "-redis", redis.URL(), "-tasks", tasks}
	elsewhere := t.TempDir()
	work := func() *harness.Server {
		t.Helper()
		return harness.Start(t, elsewhere, append([]string{"worker", "-procs", "1"}, flags...)...)
	}
	worker := work()
	speech, err := os.ReadFile("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{} // names of stored files, with the ids of their tasks
	for i := range 50 {
		switch i {
		case 10, 30:
			gateway.Kill()
			if _, status := post(t, g, "speech", "away.wav", speech); status != http.StatusServiceUnavailable {
				t.Errorf("upload without the gateway: %d", status)
			}
			gateway.Restart(t)
		case 20:
			g.Kill()
			g = harness.Start(t, dir, append(flags, "-procs", "2", "-workers", "0")...)
		case 25, 40:
			worker.Kill()
			worker = work()
		}
		name := fmt.Sprintf("%d.wav", i)
		if r, status := post(t, g, "speech", name, speech); status == http.StatusOK {
			stored[name] = r.Files[0].Task
		} else {
			t.Errorf("upload %s: %d %+v", name, status, r)
		}
	}
	for name, id := range race(t, g, "speech", "race.wav", speech, 32) {
		stored[name] = id
	}
	for name, id := range stored {
		if task := harness.AwaitTask(t, g, id); task.State != "success" || !strings.Contains(string(task.Result), hexSum(speech)) && name != "race.wav" {
			t.Errorf("%s: %+v %s", name, task, task.Result)
		}
		if task := harness.AwaitTask(t, g, id+"-copy"); task.State != "success" {
			t.Errorf("%s: %+v", name, task)
		}
		if _, text := harness.Request(t, "GET", g.URL+"/tasks/"+id+"/artifacts/waveform.png", ""); !isPNG(text) {
			t.Errorf("%s: picture of %d bytes: %.100q", name, len(text), text)
		}
		_, copied := harness.Request(t, "GET", g.URL+"/tasks/"+id+"-copy/artifacts/copy.bin", "")
		_, file := harness.Request(t, "GET", g.URL+"/upload/speech/"+name, "")
		if copied != file || !strings.HasPrefix(file, string(speech)) || file != string(speech) && name != "race.wav" {
			t.Errorf("%s: copy of %d bytes, file of %d", name, len(copied), len(file))
		}
	}
	testutil.Eventually(t, "no record is left", func() bool { return len(objects(t, gateway)) == len(stored) })
	if _, artifacts := allObjects(t, gateway); len(artifacts) != 2*len(stored) {
		t.Errorf("%d artifacts of %d files", len(artifacts), len(stored))
	}
	testutil.Eventually(t, "the requests of the worker are counted", func() bool {
		return worker.Metrics(t).Sum("gale_storage_request_duration_seconds", "method=PUT", "status=200") > 0
	})
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "gale-command-*", "file", "*.wav"))
	if err != nil || len(left) != 0 {
		t.Errorf("copies of command tasks: %q, %v", left, err)
	}
}

// race uploads n files of different content under one name at the same time. One of them is
// stored, and all others get 409. It returns the name of the file and the id of its task.
func race(t *testing.T, g *harness.Server, directory, filename string, content []byte, n int) map[string]string {
	t.Helper()
	var mu sync.Mutex
	var racers sync.WaitGroup
	statuses, stored, winner := map[int]int{}, map[string]string{}, ""
	for i := range n {
		racers.Go(func() { // ends with the upload
			own := fmt.Sprintf("%s%02d", content, i)
			r, status := post(t, g, directory, filename, []byte(own))
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
			if status == http.StatusOK {
				stored[filename], winner = r.Files[0].Task, own
			}
		})
	}
	racers.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != n-1 {
		t.Errorf("statuses of %d uploads of one name: %v", n, statuses)
	}
	if _, text := harness.Request(t, "GET", g.URL+"/upload/"+directory+"/"+filename, ""); text != winner {
		t.Errorf("%d bytes are not those of the upload that succeeded", len(text))
	}
	return stored
}

func isPNG(text string) bool {
	_, err := png.Decode(strings.NewReader(text))
	return err == nil
}

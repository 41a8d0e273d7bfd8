package processes_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// A server that starts on a backup has every file and task that was accepted before the
// backup began, although clients went on uploading while it was made. Each file in it is
// whole, and its task ends.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tasks := harness.TasksFile(t, "[tasks.size]\nargv = [\"wc\", \"-c\", \"{file}\"]\non_upload = [\"*\"]\n")
	g := harness.Start(t, dir, "-procs", "2", "-workers", "0", "-on-upload", "", "-tasks", tasks, "-data", "data")
	var stop atomic.Bool
	var uploaders sync.WaitGroup
	var accepted [2]atomic.Int64 // uploads of each uploader
	defer uploaders.Wait()
	defer stop.Store(true)
	for i := range accepted {
		uploaders.Go(func() {
			for n := 0; n < 500 && !stop.Load(); n++ {
				contentType, body := harness.UploadForm(fmt.Sprint("d", i), fmt.Sprint("f", n), harness.UploadContent(n, 1000+n))
				resp, err := http.Post(g.URL+"/upload", contentType, strings.NewReader(string(body)))
				if err != nil {
					t.Error(err)
					return
				}
				if resp.Body.Close(); resp.StatusCode == http.StatusOK {
					accepted[i].Add(1)
				}
			}
		})
	}
	testutil.Eventually(t, "20 uploads", func() bool { return accepted[0].Load() >= 20 && accepted[1].Load() >= 20 })
	before := [2]int64{accepted[0].Load(), accepted[1].Load()}
	task := harness.PostTask(t, g, `{"task":"long_running_task","args":["x"],"eta":"2034-01-01T00:00:00Z"}`)
	code, out, errs := harness.Outcome(t, dir, "backup", "copy", "-data", "data")
	if code != 0 || !strings.HasPrefix(out, "copy: ") || !strings.HasSuffix(out, " bytes, and the tasks\n") {
		t.Errorf("backup: %d %s%s", code, out, errs)
	}
	stop.Store(true)
	uploaders.Wait()
	g.Kill()

	if code, _, errs := harness.Outcome(t, dir, "backup", "copy", "-data", "data"); code != 1 || !strings.Contains(errs, "file already exists") {
		t.Errorf("a second backup to the same folder: %d %s", code, errs)
	}
	g = harness.Start(t, dir, "-procs", "1", "-on-upload", "", "-tasks", tasks, "-data", "copy")
	if got := harness.GetTask(t, g, task.ID); got.State != "scheduled" {
		t.Errorf("the task of the future: %+v", got)
	}
	var files int
	for i, n := range before {
		root := filepath.Join(dir, "copy", "uploads", fmt.Sprint("d", i))
		entries, err := os.ReadDir(root)
		if err != nil || int64(len(entries)) < n {
			t.Errorf("%d files of %d: %v", len(entries), n, err)
		}
		files += len(entries)
		for _, e := range entries {
			var k int
			_, err := fmt.Sscanf(e.Name(), "f%d", &k)
			content, readErr := os.ReadFile(filepath.Join(root, e.Name()))
			if err != nil || readErr != nil || string(content) != string(harness.UploadContent(k, 1000+k)) {
				t.Errorf("%s: %v, %v, %d bytes", e.Name(), err, readErr, len(content))
			}
		}
	}
	testutil.Eventually(t, "the tasks of all files end", func() bool {
		ended := map[string]bool{}
		for link := "/tasks?task=size&state=success"; link != ""; {
			var page struct {
				Tasks []struct{ Args []string }
				Next  string
			}
			harness.GetJSON(t, g.URL+link, &page)
			for _, task := range page.Tasks {
				ended[fmt.Sprint(task.Args)] = true
			}
			link = page.Next
		}
		return len(ended) >= files
	})
	var failed struct{ Tasks []struct{ Error string } }
	if harness.GetJSON(t, g.URL+"/tasks?task=size&state=failed", &failed); len(failed.Tasks) > 0 {
		t.Errorf("failed: %+v", failed.Tasks)
	}
}

//go:build e2e

package powerloss_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const (
	cuts     = 2   // power failures
	minFiles = 10  // files that are stored before each of them
	minTasks = 40  // tasks that are accepted before each of them
	maxSize  = 300 // KiB of a file
)

// confirmed is what the server has confirmed while it had power. The process lives a little
// longer than its disk, and what it says then does not count: the kernel may report a sync as
// done that the shutdown of the file system has cut off.
type confirmed struct {
	mu    sync.Mutex
	off   bool // the power is off
	tasks []string
	files []string // path below the folder of uploads; fileContent returns the content
}

func (c *confirmed) add(list *[]string, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.off {
		*list = append(*list, name)
	}
}

func (c *confirmed) power(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = !on
}

func (c *confirmed) count() (tasks, files int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tasks), len(c.files)
}

// TestE2EPowerLossUnderLoad cuts the power again and again while clients upload files and
// start tasks. Everything that was confirmed exists afterwards, all tasks run to their end,
// and every file that is visible is complete.
func TestE2EPowerLossUnderLoad(t *testing.T) {
	m := newMachine(t, "-on-upload", "", "-tasks", harness.TasksFile(t, tasksFile))
	var c confirmed
	var number atomic.Int64
	for range cuts {
		beforeTasks, beforeFiles := c.count()
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 9 {
			clients.Go(func() {
				for ctx.Err() == nil {
					n := int(number.Add(1))
					switch i % 3 {
					case 0:
						putFile(ctx, m.Server, &c, n)
					case 1:
						resumeFile(m.Server, &c, n)
					default:
						startTask(ctx, m.Server, &c, n)
					}
				}
			})
		}
		extraTasks, extraFiles := rand.IntN(50), rand.IntN(10)
		testutil.Eventually(t, "files are stored and tasks are accepted", func() bool {
			tasks, files := c.count()
			return tasks-beforeTasks >= minTasks+extraTasks && files-beforeFiles >= minFiles+extraFiles
		})
		c.power(false)
		m.cutPower(t)
		stop()
		clients.Wait()
		m.powerOn(t)
		c.power(true)
		wantComplete(t, filepath.Join(m.uploads.dir, "files"))
		m.start(t)
		for _, file := range c.files {
			wantContent("/upload/"+file, string(fileContent(file)))(t, m.Server)
		}
		for _, id := range c.tasks {
			if task := harness.AwaitTask(t, m.Server, id); task.State != "success" {
				t.Errorf("task %s is %s: %s", id, task.State, task.Error)
			}
		}
		t.Logf("after the power failure: all of %d tasks and %d files", len(c.tasks), len(c.files))
	}
}

// fileName returns the name of file n, which determines its content.
func fileName(n int) string { return fmt.Sprintf("load-%d/%d-%d.bin", n%7, n, 1+n*7919%(maxSize<<10)) }

// fileContent returns the content of a file by its name.
func fileContent(name string) []byte {
	var n, size int
	if _, err := fmt.Sscanf(filepath.Base(name), "%d-%d.bin", &n, &size); err != nil {
		return nil
	}
	return harness.UploadContent(n, size)
}

// do sends a request and returns the status, or 0 if there is no response.
func do(ctx context.Context, method, url string, body []byte) int {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func putFile(ctx context.Context, g *harness.Server, c *confirmed, n int) {
	name := fileName(n)
	if do(ctx, "PUT", g.URL+"/upload/"+name, fileContent(name)) == http.StatusOK {
		c.add(&c.files, name)
	}
}

// resumeFile stores a file by a resumable upload in two parts.
func resumeFile(g *harness.Server, c *confirmed, n int) {
	name := fileName(n)
	content := fileContent(name)
	created, err := harness.TusDo(g, "POST", "/tus/", nil, fmt.Sprint("Upload-Length: ", len(content)),
		harness.TusMetadata("filename", filepath.Base(name), "directory", filepath.Dir(name)))
	if err != nil || created.Status != http.StatusCreated {
		return
	}
	place := strings.TrimPrefix(created.Header.Get("Location"), g.URL)
	half := len(content) / 2
	for _, part := range []struct {
		offset  int
		content []byte
	}{{0, content[:half]}, {half, content[half:]}} {
		resp, err := harness.TusDo(g, "PATCH", place, bytes.NewReader(part.content), harness.OffsetStream, fmt.Sprint("Upload-Offset: ", part.offset))
		if err != nil || resp.Status != http.StatusNoContent {
			return
		}
	}
	c.add(&c.files, name)
}

func startTask(ctx context.Context, g *harness.Server, c *confirmed, n int) {
	id := fmt.Sprint("load-", n)
	body := fmt.Sprintf(`{"task":"say","args":["%d"],"id":%q}`, n, id)
	if do(ctx, "POST", g.URL+"/tasks", []byte(body)) == http.StatusAccepted {
		c.add(&c.tasks, id)
	}
}

// wantComplete checks every visible file below a folder.
func wantComplete(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != folder && strings.HasPrefix(e.Name(), "."):
			return filepath.SkipDir
		case e.IsDir() || strings.HasPrefix(e.Name(), "."):
			return nil
		}
		content, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(content, fileContent(path)) {
			t.Errorf("%s is visible with %d bytes, and is not complete", path, len(content))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

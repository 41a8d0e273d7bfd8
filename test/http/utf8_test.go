package http_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

// halfPair is the JSON escape of half a surrogate pair. Python's JSON reader accepts
// it, and then cannot encode the text.
var halfPair = regexp.MustCompile(`[^\\]\\u[dD][89a-fA-F]`)

// wantText checks that text from the server is valid UTF-8.
func wantText(t *testing.T, what string, text []byte) {
	t.Helper()
	if !utf8.Valid(text) || halfPair.Match(text) {
		t.Errorf("%s is not valid UTF-8: %q", what, text)
	}
}

// Text that is not UTF-8 is refused in every part of a request. The error names the
// part, and nothing is changed.
func TestTextNotUTF8(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		const token = "s3cret"
		dir := t.TempDir()
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "0", "-token", token}, where...)...)
		const form, multi, tus = "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data; boundary=b", "Tus-Resumable: 1.0.0"
		const shake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
		part := func(disposition string) string {
			return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\nx\r\n--b--\r\n"
		}
		for _, row := range []struct{ method, target, header, body, reason string }{
			{"GET", "/?greeting=%ff", "", "", `query parameter "greeting" is not valid UTF-8`},
			{"GET", "/?greeting=\xff", "", "", `query parameter "greeting" is not valid UTF-8`},
			{"GET", "/?greeting=%ed%a0%80", "", "", `query parameter "greeting" is not valid UTF-8`},
			{"GET", "/?%ff=a", "", "", `the name of the query parameter "\xff" is not valid UTF-8`},
			{"GET", "http://test/?greeting=%ff", "", "", `query parameter "greeting" is not valid UTF-8`},
			{"GET", "/delay?s=%ff", "", "", `query parameter "s"`},
			{"GET", "/tasks?queue=%ff", "", "", `query parameter "queue"`},
			{"GET", "/tasks/a?wait=%ff", "", "", `query parameter "wait"`},
			{"GET", "/start-task?data=%ff", "", "", `query parameter "data"`},
			{"POST", "/start-task?data=%ff", "", "", `query parameter "data"`},
			{"POST", "/start-task", form, "data=%ff", `form field "data" is not valid UTF-8`},
			{"POST", "/start-task", form, "data=\xff", `form field "data" is not valid UTF-8`},
			{"POST", "/console/login", form, "token=%ff", `form field "token" is not valid UTF-8`},

			{"GET", "/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/\xff", "", "", "the path is not valid UTF-8"},
			{"GET", "/tasks/%ff", "", "", "the path is not valid UTF-8"},
			{"DELETE", "/tasks/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/tasks/a/artifacts/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/workflows/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/upload/%ff/a", "", "", "the path is not valid UTF-8"},
			{"GET", "/upload/a/?after=%ff", "", "", `query parameter "after"`},
			{"GET", "/static/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/events/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/tus/%ff", "", "", "the path is not valid UTF-8"},
			{"GET", "/channels/%ff", shake, "", "the path is not valid UTF-8"},
			{"GET", "/tasks/%ff/watch", shake, "", "the path is not valid UTF-8"},
			{"GET", "/upload?directory=a&filename=%ff", shake, "", `query parameter "filename"`},

			{"POST", "/tasks", "", "{\"task\":\"long_running_task\",\"args\":[\"a\xff\xfeb\"]}", `"args" is not valid UTF-8: byte 0xff`},
			{"POST", "/tasks", "", `{"task":"long_running_task","args":["\ud800"]}`, `\ud800 is half of a surrogate pair`},
			{"POST", "/tasks", "", "{\"task\":\"long_running_task\",\"id\":\"\xff\"}", `"id" is not valid UTF-8`},
			{"POST", "/tasks", "", "{\"task\":\"long_running_task\",\"queue\":\"\xff\"}", `"queue" is not valid UTF-8`},
			{"POST", "/tasks", "", "{\"task\":\"long_running_task\",\"unique\":\"\xff\",\"unique_for\":\"1h\"}", `"unique" is not valid UTF-8`},
			{"POST", "/tasks", "", `{"task":"long_running_task","unique":"\udc00","unique_for":"1h"}`, `"unique" is not valid UTF-8`},
			{"POST", "/tasks", "", "{\"task\":\"\xff\"}", `"task" is not valid UTF-8`},
			{"POST", "/tasks", "", "{\"task\":\"long_running_task\",\"\xff\":1}", "a name is not valid UTF-8"},
			{"POST", "/tasks", "", "{\"chain\":[{\"task\":\"long_running_task\",\"args\":[\"\xff\"]}]}", `"chain" is not valid UTF-8`},
			{"POST", "/tasks", "", "{\"group\":[{\"task\":\"long_running_task\"},{\"task\":\"long_running_task\",\"args\":[\"\xff\"]}]}", `"group" is not valid UTF-8`},
			{"POST", "/publish/a", "", "\xff", "a message is text in UTF-8"},

			{"POST", "/upload", form, "directory=%ff&filename=a.wav&body=x", `form field "directory" is not valid UTF-8`},
			{"POST", "/upload", form, "directory=a&filename=%ff.wav&body=x", `form field "filename" is not valid UTF-8`},
			{"DELETE", "/upload?directory=a&filename=%ff", "", "", `query parameter "filename"`},
			{"DELETE", "/upload", form, "directory=a&filename=%ff", `form field "filename" is not valid UTF-8`},
			{"POST", "/upload?id=%ff", multi, part(`name="a"; filename="a"`), `query parameter "id"`},
			{"POST", "/upload", multi, part("name=\"a\"; filename=\"a\xff\""), "the filename is not valid UTF-8"},
			{"POST", "/upload", multi, part("name=\"\xff\"; filename=\"a\""), "a component of the directory is not valid UTF-8"},
			{"POST", "/upload", multi, part(`name="a"; filename*=UTF-8''%ff`), "the filename is not valid UTF-8"},
			{"POST", "/tus/", tus + "\r\nUpload-Length: 1\r\n" + harness.TusMetadata("filename", "\xff"), "", "the filename is not valid UTF-8"},
			{"POST", "/tus/", tus + "\r\nUpload-Length: 1\r\n" + harness.TusMetadata("filename", "a", "directory", "\xff"), "", "a component of the directory is not valid UTF-8"},
		} {
			head := row.method + " " + row.target + " HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + token + "\r\n"
			if row.header != "" {
				head += row.header + "\r\n"
			}
			status, response := rawRequest(t, g, head+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(row.body), row.body))
			what := fmt.Sprintf("%s %s %.60q", row.method, row.target, row.body)
			wantText(t, what, response)
			var decoded any
			err := json.Unmarshal(response, &decoded)
			if status != http.StatusBadRequest || err != nil || !strings.Contains(fmt.Sprint(decoded), row.reason) {
				t.Errorf("%s: %d %s; want %s", what, status, response, row.reason)
			}
		}
		var tasks struct{ Tasks []any }
		_, body := harness.Request(t, "GET", g.URL+"/tasks", "", "Authorization", "Bearer "+token)
		if err := json.Unmarshal([]byte(body), &tasks); err != nil {
			t.Error(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "data/uploads/[^.]*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks.Tasks)+len(files) > 0 {
			t.Errorf("a refused request has an effect: %v %v", tasks.Tasks, files)
		}
	})
}

// rawRequest sends the bytes of a request and reads the response.
func rawRequest(t *testing.T, g *harness.Server, request string) (status int, body []byte) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// Output of a program that is not UTF-8 is made valid. So is every response that
// contains it.
func TestOutputNotUTF8(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, `
			[tasks.writes]
			argv = ["sh", "-c", "printf 'progress 50 half \\377\\n'; printf 'out \\377\\376'"]
			[tasks.fails]
			argv = ["sh", "-c", "printf 'why \\377' >&2; exit 1"]
			[tasks.leaves]
			argv = ["sh", "-c", "echo x > \"$ARTIFACTS/$(printf 'a\\377')\""]
			[tasks.says]
			argv = ["echo", "{0}"]`)
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "1", "-tasks", file}, where...)...)
		server := func(args ...string) string { return harness.Command(t, dir, append(args, where...)...) }
		server("tasks", "queues", "pause", "default")
		watched := harness.PostTask(t, g, `{"task":"writes"}`)
		conn := harness.Socket(t, g, "/tasks/"+watched.ID+"/watch")
		console := harness.Socket(t, g, "/console/live")
		chain := harness.PostWorkflow(t, g, `{"chain":[{"task":"writes"},{"task":"says"}]}`)
		server("tasks", "queues", "resume", "default")

		ids := []string{watched.ID}
		for name, want := range map[string]string{"fails": "why \uFFFD", "leaves": `artifact "a\xff"`} {
			task := harness.RunTask(t, g, name)
			if task.State != "failed" || !strings.Contains(task.Error, want) {
				t.Errorf("%+v; want %q", task, want)
			}
			ids = append(ids, task.ID)
		}
		var done harness.CommandTask
		harness.GetJSON(t, g.URL+"/tasks/"+watched.ID+"?wait=30s", &done)
		if done.State != "success" || done.Result.Output != "out \uFFFD" || done.Note != "half \uFFFD" {
			t.Errorf("%+v", done)
		}
		for {
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			_, frame, err := conn.ReadMessage()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, "a frame of the watch socket", frame)
		}
		for seen := false; !seen; {
			_ = console.SetReadDeadline(time.Now().Add(time.Minute))
			_, frame, err := console.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, "a frame of the console", frame)
			seen = bytes.Contains(frame, []byte("why \uFFFD"))
		}
		harness.GetJSON(t, g.URL+"/workflows/"+chain.ID+"?wait=30s", &chain)
		if string(chain.Result) != `{"output":"out `+"\uFFFD"+`"}` {
			t.Errorf("%s", chain.Result)
		}
		pages := []string{g.URL + "/tasks", g.URL + "/tasks?state=failed", g.URL + "/tasks/types", g.URL + "/workflows/" + chain.ID, "http://" + g.Admin + "/status", "http://" + g.Admin + "/metrics"}
		for _, id := range ids {
			pages = append(pages, g.URL+"/tasks/"+id, g.URL+"/tasks/"+id+"/log")
			wantText(t, "tasks show", []byte(server("tasks", "show", id)))
		}
		wantText(t, "tasks list", []byte(server("tasks", "list", "-json")))
		for _, page := range pages {
			code, body, err := harness.Get(page)
			if code != http.StatusOK || err != nil {
				t.Errorf("%s: %d, %v", page, code, err)
			}
			wantText(t, page, []byte(body))
		}
		wantText(t, "the log", []byte(g.Log.String()))
	})
}

// An argument of the command line that is not UTF-8 is refused.
func TestCommandLineNotUTF8(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	harness.Start(t, dir, "-procs", "1", "-workers", "0")
	file := harness.TasksFile(t, "[tasks.a]\nargv = [\"echo\", \"\xff\"]")
	for _, row := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"tasks", "run", "long_running_task", "\xff"}, nil, `argument 1 of long_running_task is not valid UTF-8: "\xff"`},
		{[]string{"check", "-upload-types", ".\xff"}, nil, `-upload-types: ".\xff" is not valid UTF-8`},
		{[]string{"check"}, []string{"GALE_ON_UPLOAD=\xff"}, `GALE_ON_UPLOAD: "\xff" is not valid UTF-8`},
		{[]string{"check", "-tasks", file}, nil, "UTF-8"},
		{[]string{"check", "-tasks", harness.TasksFile(t, "[tasks.a]\nargv = [\"echo\"]\nenv = [\"WORD\"]")}, []string{"WORD=\xff"}, "env: the value of WORD is not valid UTF-8"},
	} {
		cmd := exec.Command(harness.Binary(), row.args...)
		cmd.Dir, cmd.Env = dir, append(cmd.Environ(), row.environ...)
		out, err := cmd.CombinedOutput()
		wantText(t, strings.Join(row.args, " "), out)
		if err == nil || !strings.Contains(string(out), row.want) {
			t.Errorf("%q: %v\n%s", row.args, err, out)
		}
	}
	if out := harness.Command(t, dir, "tasks", "list", "-json"); out != "" {
		t.Errorf("a task was accepted: %s", out)
	}
}

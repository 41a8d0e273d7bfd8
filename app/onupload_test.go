package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// OnUpload is called by a worker for each file of a form; its end is that of a task.
func TestOnUpload(t *testing.T) {
	t.Parallel()
	url, _, log := start(t, nil)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for _, name := range []string{"good.txt", "bad.txt"} {
		part, err := w.CreateFormFile("papers", name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(part, "content of ", name)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/-/upload", w.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Files []struct{ Filename, Task, SHA256 string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Files) != 2 {
		t.Fatalf("%+v, %v", answer, err)
	}
	for _, f := range answer.Files {
		want := map[string]string{"good.txt": `"state":"success"`, "bad.txt": "the shop does not take it"}[f.Filename]
		_, _, task := send(t, "GET", url+"/-/tasks/"+f.Task+"?wait=60s")
		if !strings.Contains(task, want) || !strings.Contains(task, `"task":"on_upload"`) {
			t.Errorf("%s: %s, want %s", f.Filename, task, want)
		}
		awaitLog(t, log, "filename="+f.Filename+" size="+fmt.Sprint(len("content of "+f.Filename))+" sha256="+f.SHA256)
	}
}

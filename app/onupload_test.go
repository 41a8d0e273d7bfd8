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

// A worker calls OnUpload for each file of a form, and an error of OnUpload fails the
// task.
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
	var response struct {
		Files []struct{ Filename, Task, SHA256 string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil || len(response.Files) != 2 {
		t.Fatalf("%+v, %v", response, err)
	}
	for _, f := range response.Files {
		want := map[string]string{"good.txt": `"state":"success"`, "bad.txt": "the shop does not take it"}[f.Filename]
		_, _, task := send(t, "GET", url+"/-/tasks/"+f.Task+"?wait=60s")
		if !strings.Contains(task, want) || !strings.Contains(task, `"task":"on_upload"`) {
			t.Errorf("%s: %s, want %s", f.Filename, task, want)
		}
		awaitLog(t, log, "filename="+f.Filename+" size="+fmt.Sprint(len("content of "+f.Filename))+" sha256="+f.SHA256)
	}
}

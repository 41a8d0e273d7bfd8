package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/app/apptest"
)

// processes is set by: go test . -processes
var processes = flag.Bool("processes", false, "run the tests on a master with child processes")

func TestMain(m *testing.M) { apptest.Main(m, application()) }

// start starts the shop in the process of the test, or with -processes as a real server.
func start(t *testing.T, flags ...string) *apptest.Server {
	t.Helper()
	if *processes {
		return apptest.StartProcesses(t, flags...)
	}
	return apptest.Start(t, application(), flags...)
}

func TestOrders(t *testing.T) {
	s := start(t, "-max-copies", "3")
	var task apptest.Task
	if status := s.Post("/orders", Order{Customer: "Ann", Copies: 2}, &task); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	if task = s.AwaitTask(task.ID); string(task.Result) != `"printed 2 for Ann"` {
		t.Errorf("%+v", task)
	}
	for _, row := range []struct {
		order any
		want  string
	}{
		{Order{Customer: "Ann", Copies: 4}, "copies must be at most 3"},
		{map[string]int{"copies": 1}, "customer is missing"},
	} {
		var fault struct{ Reason string }
		if status := s.Post("/orders", row.order, &fault); status != http.StatusBadRequest || !strings.Contains(fault.Reason, row.want) {
			t.Errorf("%+v: %d %q, want %q", row.order, status, fault.Reason, row.want)
		}
	}
}

// An uploaded picture starts a task that measures it.
func TestPicture(t *testing.T) {
	s := start(t)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("pictures", "cover.png")
	if err == nil {
		err = png.Encode(part, image.NewGray(image.Rect(0, 0, 30, 20)))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	resp, err := s.Client.Post(s.URL+"/upload", w.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	var stored struct{ Files []struct{ Task string } }
	if err := json.NewDecoder(resp.Body).Decode(&stored); err != nil || len(stored.Files) != 1 {
		t.Fatal(stored, err)
	}
	if task := s.AwaitTask(stored.Files[0].Task); string(task.Result) != `{"width":30,"height":20}` {
		t.Errorf("%+v", task)
	}
}

func TestIsPicture(t *testing.T) {
	for name, want := range map[string]bool{"a.png": true, "A.JPG": true, "a.txt": false, "png": false} {
		if got := isPicture(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

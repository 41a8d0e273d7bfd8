package apptest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// readFile reads an uploaded file in a task.
func readFile(ctx context.Context, job *jobs.Job) (string, error) {
	var directory, filename string
	if err := job.Args(&directory, &filename); err != nil {
		return "", err
	}
	f, err := app.From(ctx).Uploads.Open(directory, filename)
	if err != nil {
		return "", jobs.NoRetry(err)
	}
	text, err := io.ReadAll(f)
	return string(text), errors.Join(err, f.Close())
}

// A task of the application checks files in quarantine, which no other task can open. OnUpload
// is called for those that pass.
func TestQuarantineByTask(t *testing.T) {
	t.Parallel()
	args := []jobs.Arg{{Name: "directory", Type: jobs.ArgString}, {Name: "filename", Type: jobs.ArgString}}
	opened, stored := make(chan error, 1), make(chan string, 10)
	a := app.Application{
		Tasks: []jobs.Definition{
			{Name: "check", Args: args, Handler: func(ctx context.Context, job *jobs.Job) error {
				_, _, err := app.From(ctx).Tasks.Enqueue(ctx, jobs.NewTask{ID: "other-" + job.ID, Name: "other", Args: []byte(`["d","good.txt"]`)})
				if err != nil {
					return err
				}
				if _, err := app.From(ctx).Tasks.Wait(ctx, "other-"+job.ID); err != nil {
					return err
				}
				text, err := readFile(ctx, job)
				if strings.Contains(text, "virus") {
					return jobs.NoRetry(errors.New("a virus"))
				}
				return err
			}},
			{Name: "other", Args: args, Handler: func(ctx context.Context, job *jobs.Job) error {
				_, err := readFile(ctx, job)
				select {
				case opened <- err:
				default:
				}
				return nil
			}},
		},
		OnUpload: func(_ context.Context, s *app.Services, f uploads.File) error {
			got, err := s.Uploads.Open(f.Directory, f.Filename)
			if err == nil {
				err = got.Close()
			}
			stored <- f.Filename
			return err
		},
	}
	s := apptest.Start(t, a, "-quarantine", "check")
	var r struct {
		Files []struct{ Task, Reason string }
	}
	for name, content := range map[string]string{"good.txt": "good", "bad.txt": "virus"} {
		status, body := send(t, s, "PUT", "/upload/d/"+name, content)
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != 200 {
			t.Fatalf("%d %s, %v", status, body, err)
		}
		want := map[string]string{"good.txt": "success", "bad.txt": "failed"}[name]
		if task := s.AwaitTask(r.Files[0].Task); task.State != want || task.Task != "check" {
			t.Errorf("%s: %+v", name, task)
		}
	}
	if err := <-opened; err == nil {
		t.Error("another task has opened a file in quarantine")
	}
	testutil.Eventually(t, "the good file can be read, and the name of the bad one is free", func() bool {
		status, body := s.Get("/upload/d/good.txt")
		again, _ := send(t, s, "PUT", "/upload/d/bad.txt", "virus")
		return status == 200 && body == "good" && again == 200
	})
	if name := <-stored; name != "good.txt" {
		t.Errorf("OnUpload for %s", name)
	}
	if status, _ := s.Get("/upload/d/bad.txt"); status != 404 {
		t.Errorf("the bad file: %d", status)
	}
}

package routes

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// The task of -on-upload comes first, then those that are always started; none is
// for a file that it does not accept, and one without a rule accepts all.
func TestTasksForAnUpload(t *testing.T) {
	var tasks []jobs.Definition
	for _, name := range []string{"any", "flac", "inspect", "mp3"} {
		tasks = append(tasks, jobs.Definition{Name: name, Handler: func(context.Context, *jobs.Job) error { return nil }})
	}
	registry, err := jobs.NewRegistry(tasks...)
	if err != nil {
		t.Fatal(err)
	}
	ending := func(end string) func(string) bool {
		return func(name string) bool { return strings.HasSuffix(name, end) }
	}
	rules := map[string]UploadTask{"inspect": {Accepts: ending(".wav")}, "flac": {Accepts: ending(".wav"), Always: true}, "mp3": {Accepts: ending(".mp3"), Always: true}}
	for _, c := range []struct {
		task, file string
		want       []string
	}{
		{"inspect", "a.wav", []string{"inspect", "flac"}},
		{"inspect", "a.mp3", []string{"mp3"}},
		{"inspect", "a.txt", nil},
		{"", "a.wav", []string{"flac"}},
		{"any", "a.txt", []string{"any"}},
		{"mp3", "a.mp3", []string{"mp3"}},
	} {
		u := &uploadRoutes{client: &jobs.Client{Tasks: registry}, task: c.task, rules: rules}
		if got := u.wanted(c.file); !slices.Equal(got, c.want) {
			t.Errorf("-on-upload %q, %s: %v, want %v", c.task, c.file, got, c.want)
		}
	}
}

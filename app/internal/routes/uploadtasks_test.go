package routes

import (
	"slices"
	"strings"
	"testing"
)

// The task of -on-upload comes first, followed by the tasks with Always. A task is not
// started for a file that it does not accept; without Accepts, it accepts every file.
func TestTasksForAnUpload(t *testing.T) {
	ending := func(end string) func(string) bool {
		return func(name string) bool { return strings.HasSuffix(name, end) }
	}
	tasks := []UploadTask{
		{Name: "flac", Accepts: ending(".wav"), Always: true}, {Name: "inspect", Accepts: ending(".wav")}, {Name: "mp3", Accepts: ending(".mp3"), Always: true},
	}
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
		u := &UploadStarter{OnUpload: c.task, Tasks: tasks}
		if got := u.tasks(c.file); !slices.Equal(got, c.want) {
			t.Errorf("-on-upload %q, %s: %v, want %v", c.task, c.file, got, c.want)
		}
	}
}

package routes

import (
	"context"
	"encoding/json"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// UploadTask says for which uploaded files a task is started.
type UploadTask struct {
	// Accepts reports whether the task can be started for a file of that name.
	Accepts func(filename string) bool
	// Always starts it for each file that it accepts; otherwise -on-upload has to
	// name it.
	Always bool
}

// start starts, for a file that has been stored, by whatever way, the task of
// -on-upload and those that ask for uploads by themselves. The answer names the
// first of them. The file is there for good, so trouble with a task does not
// make its upload fail: the answer says so, and the log why.
func (u *uploadRoutes) start(ctx context.Context, f *uploads.File) { u.startAs(ctx, "", f) }

// startAs starts the first task under an id and the others under that and their
// name, or under new ones if it is empty. Under one id a task starts once, however
// often it is called.
func (u *uploadRoutes) startAs(ctx context.Context, id string, f *uploads.File) {
	if f.Code != uploads.CodeStored {
		return
	}
	for i, name := range u.wanted(f.Filename) {
		as := id
		if id != "" && i > 0 {
			as += "-" + name
		}
		started, err := u.enqueue(ctx, as, name, f)
		if err != nil {
			u.log.Error("cannot start the task for an upload", "task", name, "directory", f.Directory, "filename", f.Filename, "error", err)
			f.Reason = "stored, but " + name + " could not be started"
		} else if f.Task == "" {
			f.Task = started
		}
	}
}

// wanted are the tasks to start for a file, that of -on-upload first.
func (u *uploadRoutes) wanted(filename string) (names []string) {
	for _, name := range u.client.Tasks.Names() {
		rule := u.rules[name]
		switch {
		case rule.Accepts != nil && !rule.Accepts(filename):
		case name == u.task:
			names = append([]string{name}, names...)
		case rule.Always:
			names = append(names, name)
		}
	}
	return names
}

func (u *uploadRoutes) enqueue(ctx context.Context, id, name string, f *uploads.File) (started string, err error) {
	args, err := json.Marshal([]string{f.Directory, f.Filename})
	if err != nil {
		return "", err
	}
	t, _, err := u.client.Enqueue(ctx, jobs.NewTask{ID: id, Name: name, Args: args})
	if err != nil {
		return "", err
	}
	return t.ID, nil
}

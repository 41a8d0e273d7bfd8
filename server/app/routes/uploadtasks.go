package routes

import (
	"context"
	"encoding/json"

	"gale/jobs"
	"gale/uploads"
)

// startOthers starts the tasks that ask for uploads by themselves, beside the
// one of -on-upload. The answer names that one, or else the first of these.
func (u *uploadRoutes) startOthers(ctx context.Context, f *uploads.File) {
	if f.Code != uploads.CodeStored {
		return
	}
	for _, name := range u.client.Tasks.Names() {
		d, err := u.client.Tasks.Lookup(name)
		if err != nil || !d.OnUpload || name == u.task || !d.Accepts(f.Filename) {
			continue
		}
		args, err := json.Marshal([]string{f.Directory, f.Filename})
		var t *jobs.Task
		if err == nil {
			t, _, err = u.client.Enqueue(ctx, jobs.NewTask{Name: name, Args: args})
		}
		if err != nil {
			u.log.Error("cannot start the task for an upload", "task", name, "directory", f.Directory, "filename", f.Filename, "error", err)
			f.Reason = "stored, but " + name + " could not be started"
		} else if f.Task == "" {
			f.Task = t.ID
		}
	}
}

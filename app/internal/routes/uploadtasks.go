package routes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// UploadTask is a task that can be started for an uploaded file. It takes the
// directory and the filename.
type UploadTask struct {
	Name string
	// Accepts reports whether the task is for a file of that name. Nil: for any.
	Accepts func(filename string) bool
	// Always starts the task for each file that it accepts, whatever -on-upload says.
	Always bool
	// Details hands the task the file's size and SHA-256 after its names.
	Details bool
}

// UploadStarter starts the tasks of stored files: that of -on-upload, and those that
// ask for uploads by themselves. Its Wanted and Stored are for uploads.Options, which
// needs them before there is a client.
type UploadStarter struct {
	OnUpload string       // started for each stored file that it accepts; empty for none
	Tasks    []UploadTask // by name
	Client   *jobs.Client // must be set before the first upload
	Deferred func()       // called for each attempt that failed; nil for nobody
	Logger   *slog.Logger
}

// Wanted reports whether a task is to be started for a file of that name.
func (u *UploadStarter) Wanted(_, filename string) bool { return len(u.tasks(filename)) > 0 }

// Stored starts the tasks of a file under ids that are made of id: however often it
// is called, each starts once. The error says that it must be called again.
func (u *UploadStarter) Stored(ctx context.Context, id string, f uploads.File) (failed error) {
	for i, name := range u.tasks(f.Filename) {
		as := uploadTaskID(id)
		if i > 0 {
			as += "-" + name
		}
		err := u.enqueue(ctx, as, name, f)
		if errors.Is(err, jobs.ErrTaken) {
			// -on-upload has changed since, and the task of before was started.
			u.Logger.WarnContext(ctx, "another task was started for an upload before", "task", name, "id", as)
			err = nil
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("start %s: %w", name, err))
		}
	}
	if failed != nil && u.Deferred != nil {
		u.Deferred()
	}
	return failed
}

func uploadTaskID(id string) string { return "upload-" + id }

// tasks are the tasks to start for a file, that of -on-upload first.
func (u *UploadStarter) tasks(filename string) (names []string) {
	first := u.OnUpload != ""
	for _, t := range u.Tasks {
		accepted := t.Accepts == nil || t.Accepts(filename)
		if t.Name == u.OnUpload {
			first = accepted
		} else if t.Always && accepted {
			names = append(names, t.Name)
		}
	}
	if first {
		names = append([]string{u.OnUpload}, names...)
	}
	return names
}

func (u *UploadStarter) enqueue(ctx context.Context, id, name string, f uploads.File) error {
	given := []any{f.Directory, f.Filename}
	if slices.ContainsFunc(u.Tasks, func(t UploadTask) bool { return t.Name == name && t.Details }) {
		given = append(given, f.Size, f.SHA256)
	}
	args, err := json.Marshal(given)
	if err != nil {
		return err
	}
	_, _, err = u.Client.Enqueue(ctx, jobs.NewTask{ID: id, Name: name, Args: args})
	return err
}

// uploadResponse is an uploads.Response as clients get it: with the tasks.
type uploadResponse struct {
	Code   int            `json:"code"`
	Reason string         `json:"reason"`
	Files  []uploadedFile `json:"files"`
}

type uploadedFile struct {
	uploads.File
	Task string `json:"task,omitempty"`
}

// response adds to an uploads.Response the ids of the first task of each file. One that could
// not be started yet will be under that id, so the file says so in its reason.
func (u *UploadStarter) response(a uploads.Response) uploadResponse {
	r := uploadResponse{Code: a.Code, Reason: a.Reason, Files: make([]uploadedFile, 0, len(a.Files))}
	for _, f := range a.Files {
		r.Files = append(r.Files, u.file(f))
	}
	return r
}

func (u *UploadStarter) file(f uploads.File) uploadedFile {
	r := uploadedFile{File: f}
	if f.ID == "" || f.Code != uploads.CodeStored {
		return r
	}
	names := u.tasks(f.Filename)
	if len(names) == 0 {
		return r
	}
	r.Task = uploadTaskID(f.ID)
	switch {
	case errors.Is(f.StoredErr, jobs.ErrUnavailable):
		r.Reason = "stored; " + names[0] + " will be started as soon as tasks are accepted again"
	case f.StoredErr != nil:
		r.Reason = "stored, but " + names[0] + " could not be started yet"
	}
	return r
}

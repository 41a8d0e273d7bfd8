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

// UploadTask is a task that may be started for an uploaded file. Its arguments are the
// file's directory and filename.
type UploadTask struct {
	Name string
	// Accepts reports whether the task may be started for a file with that name. Nil
	// accepts every file.
	Accepts func(filename string) bool
	// Always starts the task for each file that it accepts, independent of -on-upload.
	Always bool
	// Details adds the file's size and SHA-256 to the arguments.
	Details bool
}

// UploadStarter starts the tasks of stored files: the task of -on-upload, and those with
// Always. Wanted and Stored are callbacks for uploads.Options.
type UploadStarter struct {
	OnUpload string // task for each stored file that it accepts; empty for none
	// Quarantine is the task that each stored file must pass before it can be read and the
	// other tasks start; empty for none.
	Quarantine string
	Tasks      []UploadTask // all tasks, sorted by name
	Client     *jobs.Client // must be set before the first upload
	Deferred   func()       // called for each failed attempt; nil for none
	Logger     *slog.Logger
}

// Wanted reports whether Stored would start a task for a file with that name.
func (u *UploadStarter) Wanted(_, filename string) bool { return len(u.tasks(filename)) > 0 }

// Stored starts the tasks of a file. Their ids are derived from id, so that a task starts
// only once if Stored is called again. After an error, it must be called again.
func (u *UploadStarter) Stored(ctx context.Context, id string, f uploads.File) (failed error) {
	for i, name := range u.tasks(f.Filename) {
		as := uploadTaskID(id)
		if i > 0 {
			as += "-" + name
		}
		err := u.enqueue(ctx, as, name, f)
		if errors.Is(err, jobs.ErrTaken) {
			// -on-upload has changed since an earlier call.
			u.Logger.WarnContext(ctx, "task not started: the task of the earlier -on-upload was already started for the file", "task", name, "id", as)
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

// tasks returns the names of the tasks to start for a file, the one of -on-upload first.
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

// uploadResponse is the body of the response to an upload: an uploads.Response with the ids
// of tasks.
type uploadResponse struct {
	Code   int            `json:"code"`
	Reason string         `json:"reason"`
	Files  []uploadedFile `json:"files"`
}

type uploadedFile struct {
	uploads.File
	Task string `json:"task,omitempty"`
}

// response adds the id of each file's first task to a Response. If that task could not be
// started yet, it will be started later with the same id, and the reason says so.
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
	if u.Quarantine != "" {
		return u.quarantined(f)
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

package app

import (
	"context"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// OnUploadTask is the name of the task that calls Application.OnUpload.
const OnUploadTask = "on_upload"

// onUploadRetries is the number of retries of a failed OnUpload, with backoff.
const onUploadRetries = 5

// tasks returns the application's tasks and, if OnUpload is set, the task that calls it.
func (a *Application) tasks() []jobs.Definition {
	if a.OnUpload == nil {
		return a.Tasks
	}
	return append(slices.Clone(a.Tasks), jobs.Definition{
		Name: OnUploadTask,
		Args: []jobs.Arg{
			{Name: "directory", Type: jobs.ArgString}, {Name: "filename", Type: jobs.ArgString},
			{Name: "size", Type: jobs.ArgInteger}, {Name: "sha256", Type: jobs.ArgString},
		},
		MaxRetries: onUploadRetries,
		Handler: func(ctx context.Context, job *jobs.Job) error {
			f := uploads.File{Code: uploads.CodeStored, Reason: "OK"}
			if err := job.Args(&f.Directory, &f.Filename, &f.Size, &f.SHA256); err != nil {
				return err
			}
			return a.OnUpload(ctx, From(ctx), f)
		},
	})
}

package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// Name is the name of the task.
const Name = "inspect"

// artifactName is the name of the picture that the task stores as an artifact.
const artifactName = "waveform.png"

// Files opens an uploaded file for reading.
type Files interface {
	Open(ctx context.Context, directory, filename string) (io.ReadSeekCloser, error)
}

// Task returns the task "inspect". Its arguments are the directory and the filename of an
// uploaded file, its result is a Report, and its artifact is waveform.png.
func Task(files Files) jobs.Definition {
	return jobs.Definition{
		Name:       Name,
		Args:       []jobs.Arg{{Name: "directory", Type: jobs.ArgString}, {Name: "filename", Type: jobs.ArgString}},
		MaxRetries: maxRetries,
		Handler: func(ctx context.Context, job *jobs.Job) error {
			err := run(ctx, job, files)
			if err != nil && !errors.Is(err, uploads.ErrUnavailable) {
				return jobs.NoRetry(err) // the file would be the same
			}
			return err
		},
	}
}

// maxRetries is the number of retries while the file store is unavailable.
const maxRetries = 10

func run(ctx context.Context, job *jobs.Job, files Files) error {
	var directory, filename string
	if err := job.Args(&directory, &filename); err != nil {
		return err
	}
	f, err := files.Open(ctx, directory, filename)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	report, wave, err := Inspect(ctx, filename, f, job.Progress)
	if err != nil {
		return err
	}
	if err := saveWaveform(job, wave); err != nil {
		return fmt.Errorf("store waveform: %w", err)
	}
	return job.Return(report)
}

// saveWaveform stores the picture as an artifact of the task.
func saveWaveform(job *jobs.Job, wave *Waveform) error {
	out, err := job.Artifact(artifactName)
	if err != nil {
		return err
	}
	if err := wave.WritePNG(out); err != nil {
		return err // an artifact that is not closed is dropped
	}
	return out.Close()
}

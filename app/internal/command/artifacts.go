package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/uploads"
)

// While the object storage for artifacts is unavailable, an artifact is stored again, because
// the program has already run. The pause doubles from storeMin to storeMax. After
// storePatience the attempt fails.
const (
	storeMin      = 500 * time.Millisecond
	storeMax      = 10 * time.Second
	storePatience = time.Minute
)

// storeArtifacts stores the files in dir as artifacts of the job. Anything other than a
// regular file with a valid name is an error, so that nothing is lost silently.
func storeArtifacts(ctx context.Context, job *jobs.Job, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read artifacts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read artifacts: %w", err)
	}
	defer root.Close() //nolint:errcheck // read only
	end := time.Now().Add(storePatience)
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			return jobs.NoRetry(fmt.Errorf("artifact %q is not a regular file", entry.Name()))
		}
		if err := storeArtifact(ctx, job, root, entry, end); err != nil {
			return fmt.Errorf("store artifact %q: %w", entry.Name(), err)
		}
	}
	return nil
}

// storeArtifact stores a file. It tries again until end if the storage is unavailable.
func storeArtifact(ctx context.Context, job *jobs.Job, root *os.Root, entry fs.DirEntry, end time.Time) error {
	for wait := storeMin; ; wait = min(2*wait, storeMax) {
		err := copyFile(job, root, entry)
		if !errors.Is(err, uploads.ErrUnavailable) || time.Now().Add(wait).After(end) {
			return err
		}
		job.Log.Warn("artifact not stored, trying again", "artifact", entry.Name(), "error", err, "retry_in", wait)
		if !sleep.For(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// copyFile stores a file. After an error it does not close the artifact, which is then
// dropped.
func copyFile(job *jobs.Job, root *os.Root, entry fs.DirEntry) error {
	from, err := root.Open(entry.Name())
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read only
	to, err := job.Artifact(entry.Name())
	if errors.Is(err, artifacts.ErrName) {
		return jobs.NoRetry(err)
	}
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, from); err != nil {
		return err
	}
	return to.Close()
}

package routes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// quarantinePrefix returns the begin of the ids of a task that checks files in quarantine. It
// depends on the name of the task, so that after a change of -quarantine the new task decides.
func quarantinePrefix(task string) string {
	sum := sha256.Sum256([]byte(task))
	return "quarantine-" + hex.EncodeToString(sum[:4]) + "-"
}

// quarantineID returns the id of the task that checks a file in quarantine.
func (u *UploadStarter) quarantineID(id string) string { return quarantinePrefix(u.Quarantine) + id }

// ChecksQuarantine reports whether a task checks a file in quarantine, so that it may open such
// files. This depends on its id and not on -quarantine, which other machines may not have.
func ChecksQuarantine(task, id string) bool { return strings.HasPrefix(id, quarantinePrefix(task)) }

// Inspect is uploads.Options.Quarantine. The first call for a file starts the task of
// -quarantine, whose end is the verdict. If the task store has removed the task, another one
// with the same id is started.
func (u *UploadStarter) Inspect(ctx context.Context, id string, f uploads.File) (uploads.Verdict, error) {
	t, err := u.Client.Get(ctx, u.quarantineID(id))
	if errors.Is(err, jobs.ErrNotFound) {
		err = u.enqueue(ctx, u.quarantineID(id), u.Quarantine, f)
		if err != nil && u.Deferred != nil {
			u.Deferred()
		}
		return uploads.VerdictPending, err
	}
	switch {
	case err != nil:
		return uploads.VerdictPending, err
	case t.Name != u.Quarantine:
		return uploads.VerdictPending, fmt.Errorf("task %s is %s, not %s", t.ID, t.Name, u.Quarantine)
	case t.State == jobs.StateSuccess:
		return uploads.VerdictPassed, nil
	case t.State.Final():
		u.Logger.WarnContext(ctx, "task of the quarantine has not succeeded, its file is removed", "task", t.ID, "state", string(t.State), "error", t.Error)
		return uploads.VerdictFailed, nil
	}
	return uploads.VerdictPending, nil
}

// quarantined returns the result for a file in quarantine.
func (u *UploadStarter) quarantined(f uploads.File) uploadedFile {
	r := uploadedFile{File: f, Task: u.quarantineID(f.ID)}
	r.Reason = "stored; it can be read as soon as " + u.Quarantine + " has succeeded"
	return r
}

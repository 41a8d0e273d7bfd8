package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gale/jobs"
)

// Bounds of the texts that a task collects; longer ones are cut and end in an
// ellipsis. A row is written anew at each change, so it must stay of a size.
const (
	maxError   = 64 << 10 // of Task.Error
	maxFailure = 4 << 10  // of each text in Task.Failures
	maxNote    = 4 << 10  // of Task.Note

	// maxFailures is how many Failures are kept, the newest.
	maxFailures = jobs.MaxRetries
)

// columns in the order of row.scan.
const columns = `seq, version, lost, id, queue, name, state, run_at, created, started, finished,
	timeout, max_retries, attempts, worker, progress, note, error, artifacts, failures, result, args, signature`

// row is a task as it is stored.
type row struct {
	seq  int64
	lost int
	task jobs.Task
}

// scan reads columns; now tells scheduled from queued.
func (r *row) scan(rows interface{ Scan(...any) error }, now time.Time) error {
	t := &r.task
	var runAt, created int64
	var started, finished sql.Null[int64]
	var artifacts, failures []byte
	err := rows.Scan(&r.seq, &t.Version, &r.lost, &t.ID, &t.Queue, &t.Name, &t.State, &runAt, &created,
		&started, &finished, &t.Timeout, &t.MaxRetries, &t.Attempts, &t.Worker, &t.Progress, &t.Note,
		&t.Error, &artifacts, &failures, (*[]byte)(&t.Result), (*[]byte)(&t.Args), &t.Signature)
	if err != nil {
		return err
	}
	t.RunAt, t.Created = fromMicro(runAt), fromMicro(created)
	t.Started, t.Finished = fromNull(started), fromNull(finished)
	if t.State == jobs.Queued && t.RunAt.After(now) {
		t.State = jobs.Scheduled
	}
	if err := errors.Join(json.Unmarshal(artifacts, &t.Artifacts), json.Unmarshal(failures, &t.Failures)); err != nil {
		return fmt.Errorf("decode task %s: %w", t.ID, err)
	}
	return nil
}

// check refuses what would be stored but could never be shown or named: the
// caller's fault, so not jobs.ErrUnavailable.
func check(n jobs.NewTask) error {
	switch {
	case !jobs.ValidID(n.ID):
		return fmt.Errorf("task id %q is not valid", n.ID)
	case n.Name == "":
		return fmt.Errorf("task %s has no name", n.ID)
	case n.Args != nil && !json.Valid(n.Args):
		return fmt.Errorf("arguments of task %s are not JSON", n.ID)
	}
	return nil
}

// cut bounds a text to n bytes of valid UTF-8, which is all that JSON can show.
func cut(s string, n int) string {
	const ellipsis = "…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	end := n - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// jsonText is v as a JSON column holds it: text, so that the sqlite3 shell
// shows it, and [] for a nil slice.
func jsonText[T any](v []T) (string, error) {
	if len(v) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// addFailure appends to the failures and drops the oldest beyond maxFailures.
func addFailure(all []jobs.Failure, f jobs.Failure) []jobs.Failure {
	f.Error = cut(f.Error, maxFailure)
	all = append(all, f)
	return all[max(0, len(all)-maxFailures):]
}

// micro rounds up, so that a task is never due before its time.
func micro(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }

func fromNull(us sql.Null[int64]) *time.Time {
	if !us.Valid {
		return nil
	}
	t := fromMicro(us.V)
	return &t
}

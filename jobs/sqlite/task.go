package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// columns are the columns that row.scan reads, in the same order.
const columns = `seq, version, lost, id, queue, name, state, run_at, created, started, finished,
	timeout, max_retries, attempts, worker, progress, note, error, artifacts, failures, result, args, signature,
	group_seq, member, (SELECT id FROM groups WHERE seq = group_seq), expires, workflow, followers, digest, aborted,
	kwargs, headers, ended`

// row is a stored task.
type row struct {
	seq    int64
	lost   int
	member member
	task   jobs.Task

	expires sql.Null[int64]
}

func (r *row) suspect() bool { return r.lost >= driver.SuspectAfter }

// scan reads columns. A queued task whose RunAt is after now becomes scheduled.
func (r *row) scan(rows interface{ Scan(...any) error }, now time.Time) error {
	t := &r.task
	var runAt, created int64
	var started, finished sql.Null[int64]
	var artifacts, failures, followers, ended []byte
	var group sql.Null[string]
	err := rows.Scan(&r.seq, &t.Version, &r.lost, &t.ID, &t.Queue, &t.Name, &t.State, &runAt, &created,
		&started, &finished, &t.Timeout, &t.MaxRetries, &t.Attempts, &t.Worker, &t.Progress, &t.Note,
		&t.Error, &artifacts, &failures, (*[]byte)(&t.Result), (*[]byte)(&t.Args), &t.Signature,
		&r.member.group, &r.member.place, &group, &r.expires,
		&t.Workflow, &followers, &t.Digest, &t.Aborted, (*[]byte)(&t.Kwargs), (*[]byte)(&t.Headers), &ended)
	if err != nil {
		return err
	}
	t.Lost = r.lost
	t.RunAt, t.Created = fromMicro(runAt), fromMicro(created)
	t.Started, t.Finished, t.Group = fromNull(started), fromNull(finished), group.V
	if t.State == jobs.StateQueued && t.RunAt.After(now) {
		t.State = jobs.StateScheduled
	}
	err = errors.Join(
		listFrom(followers, &t.Followers), listFrom(ended, &t.Ended),
		listFrom(artifacts, &t.Artifacts), listFrom(failures, &t.Failures))
	if err != nil {
		return fmt.Errorf("decode task %s: %w", t.ID, err)
	}
	t.Repair()
	return nil
}

// listFrom decodes a list from the text of a JSON column. Most columns of most tasks are
// NULL or the empty list, for which it sets an empty slice without the decoder.
func listFrom[T any](text []byte, list *[]T) error {
	switch string(text) {
	case "":
		return nil
	case "[]":
		*list = []T{}
		return nil
	}
	return json.Unmarshal(text, list)
}

// jsonText returns v as the text of a JSON column, with [] for a nil slice. It is text, not
// a blob, so that the sqlite3 shell shows it.
func jsonText[T any](v []T) (string, error) {
	if len(v) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
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

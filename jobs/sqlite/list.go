package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// listSQL reads the newest ?2 tasks before ?1 and returns those that match. The state
// scheduled is stored as queued. Tasks past their retention time are left out. The limit is an
// expression for the reason given at dueSQL.
const listSQL = `
	SELECT ` + columns + ` FROM tasks
	WHERE seq IN (SELECT seq FROM tasks WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2 + 0)
		AND (?3 = '' OR state = ?3) AND (?4 = '' OR name = ?4) AND (?5 = '' OR queue = ?5)
		AND (finished IS NULL OR finished >= ?6)
		AND created >= ?7 AND created < ?8
		AND (?9 = '' OR instr(id, ?9) > 0 OR instr(name, ?9) > 0 OR instr(args, ?9) > 0 OR instr(kwargs, ?9) > 0)
	ORDER BY seq DESC`

// lastSQL returns the number and the last of the tasks that listSQL reads.
const lastSQL = `SELECT count(*), coalesce(min(seq), 0) FROM (SELECT seq FROM tasks WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2 + 0)`

// List implements jobs.Store. It never waits for a writer.
func (s *Store) List(ctx context.Context, q jobs.Query) (*jobs.Page, error) {
	p, err := s.list(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", s.readError(ctx, err))
	}
	return p, nil
}

func (s *Store) list(ctx context.Context, q jobs.Query) (*jobs.Page, error) {
	now, before := time.Now(), cmp.Or(q.Before, math.MaxInt64)
	var seen int
	var last int64
	if err := s.read.queryRow(ctx, lastSQL, before, driver.ScanLimit).Scan(&seen, &last); err != nil {
		return nil, err
	}
	stored := q.State
	if stored == jobs.StateScheduled {
		stored = jobs.StateQueued
	}
	since, until := q.Period()
	rows, err := s.read.query(ctx, listSQL, before, driver.ScanLimit, string(stored), q.Name, q.Queue,
		now.Add(-s.opts.Keep).UnixMicro(), since, until, q.Text)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	p, size := &jobs.Page{Tasks: []*jobs.Task{}}, 0
	for rows.Next() {
		r := new(row)
		if err := r.scan(rows, now); err != nil {
			return nil, err
		}
		if !q.Matches(&r.task) {
			continue
		}
		p.Tasks = append(p.Tasks, &r.task)
		size += len(r.task.Args) + len(r.task.Result)
		if len(p.Tasks) == q.PageSize() || size >= driver.PageBytes {
			if r.seq > last || seen == driver.ScanLimit {
				p.Next = r.seq
			}
			return p, nil
		}
	}
	if seen == driver.ScanLimit {
		p.Next = last
	}
	return p, rows.Err()
}

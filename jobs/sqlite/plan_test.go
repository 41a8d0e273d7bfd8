package sqlite

import (
	"strings"
	"testing"
)

// Frequent statements must find their rows by an index. BenchmarkBacklog shows the
// effect.
func TestQueryPlans(t *testing.T) {
	s := openTemp(t)
	for _, q := range []struct {
		sql  string
		args []any
		want []string
	}{
		{nextDueSQL, []any{"[]", "[]", "w", 0, "{}", 0}, []string{
			"SEARCH tasks USING INDEX tasks_due (queue=? AND name=? AND due>?)",
			"SEARCH tasks USING INDEX tasks_running (worker=?)",
			"SEARCH tasks USING INDEX tasks_expires (expires>?)",
		}},
		{expiredSQL, []any{0}, []string{"USING INDEX tasks_expires (expires>? AND expires<?)"}},
		{dueSQL, []any{"[]", "q", 0, 1, true}, []string{
			"SEARCH tasks USING INDEX tasks_due (queue=? AND name=? AND due<?)",
			"SEARCH t USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		{getTask, []any{"a"}, []string{"SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"}},
		{heldSQL, []any{"a", 1, "w"}, []string{"SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"}},
		{runningOf, []any{"w"}, []string{"SEARCH tasks USING INDEX tasks_running (worker=?)"}},
		{excuseSQL, []any{"w", 1}, []string{"USING COVERING INDEX tasks_running (worker=?)"}},
		{excusedSQL, []any{1}, []string{"SEARCH other USING INDEX tasks_running (worker=?)"}},
		{resultsSQL, []any{1}, []string{"SEARCH tasks USING INDEX tasks_group (group_seq=?)"}},
		{sweepSQL, []any{1, 1}, []string{"SEARCH tasks USING INDEX tasks_finished (finished<?)"}},
		{groupSQL, []any{"a"}, []string{"SEARCH groups USING INDEX sqlite_autoindex_groups_1 (id=?)"}},
		{versionsOf, []any{"[]"}, []string{"SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"}},
	} {
		rows, err := s.read.db.Query("EXPLAIN QUERY PLAN "+q.sql, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(plan, "\n")
		if strings.Contains(all, "SCAN tasks") || strings.Contains(all, "SCAN t\n") {
			t.Errorf("%s\nreads the whole table:\n%s", q.sql, all)
		}
		for _, want := range q.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s\ndoes not %s but\n%s", q.sql, want, all)
			}
		}
	}
}

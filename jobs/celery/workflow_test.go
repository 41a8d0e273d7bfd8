package celery_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs/celery"
)

// sign returns a signature of Celery.
func sign(task, id, args string, immutable bool) string {
	return fmt.Sprintf(`{"task":%q,"args":%s,"kwargs":{},"options":{"task_id":%q},"subtask_type":null,"immutable":%v}`, task, args, id, immutable)
}

// A chain, callbacks and errbacks of a message run as the workflow of a task, and each of
// their tasks has a result.
func TestChainAndCallbacks(t *testing.T) {
	f := newFixture(t)
	f.bridge(t, celery.Options{})
	f.work(t)
	// The next task of a chain is the last of the array.
	f.push(t, "celery", call{body: `[[1],{},{"callbacks":[` + sign("sum", "back", "[8]", false) + `],"errbacks":[` + sign("sum", "err", "[]", false) + `],` +
		`"chain":[` + sign("sum", "c3", "[3]", true) + `,` + sign("sum", "c2", "[2]", false) + `],"chord":null}]`}.text(t, "c1", "sum"))
	f.wantResult(t, "c1", "SUCCESS", "[1]")
	f.wantResult(t, "c2", "SUCCESS", "[[1],2]")
	f.wantResult(t, "c3", "SUCCESS", "[3]")
	f.wantResult(t, "back", "SUCCESS", "[[1],8]")

	// As in Celery, the failure of a task is the result of those that follow it in the chain.
	f.push(t, "celery", call{body: `[[],{},{"errbacks":[` + sign("sum", "told", "[9]", false) + `],"chain":[` + sign("sum", "d3", "[]", false) + `,` + sign("sum", "d2", "[]", false) + `]}]`}.text(t, "d1", "fail"))
	for _, id := range []string{"d1", "d2", "d3"} {
		f.wantResult(t, id, "FAILURE", `{"exc_type":"ValueError","exc_message":["out of luck"],"exc_module":"builtins"}`)
	}
	f.wantResult(t, "told", "SUCCESS", `["ValueError: out of luck",9]`)

	// A chord as an element of a chain.
	f.push(t, "celery", call{body: `[[5],{},{"chain":[` + sign("sum", "e-last", "[]", false) + `,{"task":"celery.chord","args":[],"kwargs":{"header":` +
		`{"task":"celery.group","kwargs":{"tasks":[` + sign("sum", "e-1", "[1]", false) + `,` + sign("sum", "e-2", "[2]", false) + `]},"options":{"task_id":"e-group"},"subtask_type":"group"},` +
		`"body":` + sign("sum", "e-body", "[7]", false) + `},"options":{"task_id":"e-body"},"subtask_type":"chord","immutable":false}]}]`}.text(t, "e-first", "sum"))
	f.wantResult(t, "e-1", "SUCCESS", "[[5],1]")
	f.wantResult(t, "e-body", "SUCCESS", "[[[[5],1],[[5],2]],7]")
	f.wantResult(t, "e-last", "SUCCESS", "[[[[[5],1],[[5],2]],7]]")
	testutil.Eventually(t, "an end of all", func() bool {
		n, err := f.redis.HLen(t.Context(), "gale:celery:waiting").Result()
		return err == nil && n == 0
	})
}

// part pushes a part of a chord.
func (f *fixture) part(t *testing.T, group, id, task string, index int, body string) {
	t.Helper()
	text := call{body: fmt.Sprintf(`[[%d],{},{"chord":%s}]`, index, body), headers: map[string]any{"group": group, "group_index": index}}.text(t, id, task)
	f.push(t, "celery", text)
}

// A chord is counted by the keys of Celery, each part once, so that workers of Celery may run
// some of its parts.
func TestChord(t *testing.T) {
	f := newFixture(t)
	f.bridge(t, celery.Options{})
	f.bridge(t, celery.Options{}) // two bridges share the work
	f.work(t)
	ctx := t.Context()
	if err := f.redis.Set(ctx, "celery-taskset-meta-g.s", 3, 0).Err(); err != nil {
		t.Fatal(err)
	}
	body := sign("sum", "body", "[9]", false)
	f.part(t, "g", "p0", "sum", 0, body)
	f.part(t, "g", "p2", "sum", 2, body)
	f.wantResult(t, "p0", "SUCCESS", "[0]")
	f.wantResult(t, "p2", "SUCCESS", "[2]")
	// The client sends a part again after a lost response: it is not counted again.
	f.part(t, "g", "p0", "sum", 0, body)
	testutil.Eventually(t, "the part sent again", func() bool { return f.counters.Stats().Results == 3 })
	if n, err := f.redis.ZCard(ctx, "celery-taskset-meta-g.j").Result(); err != nil || n != 2 {
		t.Errorf("%d parts are counted, %v", n, err)
	}
	// A worker of Celery has counted its part, as the second of three.
	if err := f.redis.Set(ctx, "celery-taskset-meta-g.s", 4, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.redis.ZAdd(ctx, "celery-taskset-meta-g.j", redis.Z{Score: 1, Member: `[1, "p1", "SUCCESS", "theirs"]`}).Err(); err != nil {
		t.Fatal(err)
	}
	f.part(t, "g", "p3", "sum", 3, body)
	f.wantResult(t, "body", "SUCCESS", `[[[0],"theirs",[2],[3]],9]`)
	testutil.Eventually(t, "the end of the chord", func() bool {
		n, err := f.redis.Exists(ctx, "celery-taskset-meta-g.j", "celery-taskset-meta-g.s", "celery-taskset-meta-g.t").Result()
		return err == nil && n == 0
	})

	// The body of a chord with a failed part has the error of Celery. A body may be a chain.
	if err := f.redis.MSet(ctx, "celery-taskset-meta-h.s", 2, "celery-taskset-meta-i.s", 1).Err(); err != nil {
		t.Fatal(err)
	}
	body = `{"task":"celery.chain","args":[],"kwargs":{"tasks":[` + sign("sum", "h-1", "[]", false) + `,` + sign("sum", "h-2", "[]", false) + `]},"options":{},"subtask_type":"chain"}`
	f.part(t, "h", "h0", "sum", 0, body)
	f.part(t, "h", "h1", "fail", 1, body)
	for _, id := range []string{"h-1", "h-2"} {
		f.wantResult(t, id, "FAILURE", `{"exc_type":"ChordError","exc_message":["Dependency h1 raised ValueError([\"out of luck\"])"],"exc_module":"celery.exceptions"}`)
	}
	body = `{"task":"celery.chain","args":[],"kwargs":{"tasks":[` + sign("sum", "i-1", "[]", false) + `,` + sign("sum", "i-2", "[]", false) + `]},"options":{},"subtask_type":"chain"}`
	f.part(t, "i", "i0", "sum", 0, body)
	f.wantResult(t, "i-1", "SUCCESS", `[[[0]]]`)
	f.wantResult(t, "i-2", "SUCCESS", `[[[[0]]]]`)
}

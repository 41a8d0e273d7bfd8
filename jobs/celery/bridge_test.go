package celery_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/celery"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/sqlite"
)

// fixture is a task store, the Redis of Celery clients, and a worker that runs any task whose
// name is in names: it returns its arguments, or fails with the text after "fail:".
type fixture struct {
	store    *sqlite.Store
	redis    *redis.Client
	address  string
	client   *jobs.Client
	counters celery.Counters
}

var names = []string{"echo", "fail", "sum"}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	server := redistest.Start(t)
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "jobs.db"), sqlite.Options{LeaseTTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var defs []jobs.Definition
	for _, name := range names {
		defs = append(defs, jobs.Definition{Name: name, Keywords: true, MaxRetries: 3, Handler: func(context.Context, *jobs.Job) error { return nil }})
	}
	registry, err := jobs.NewRegistry(defs...)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{store: store, redis: server.Client(), address: server.URL() + "/0", client: &jobs.Client{Store: store, Tasks: registry}}
}

// bridge runs a bridge until the test ends, or the returned function is called.
func (f *fixture) bridge(t *testing.T, o celery.Options) (stop func()) {
	t.Helper()
	o.Address, o.Counters = f.address, &f.counters
	b, err := celery.New(f.client, o)
	if err != nil {
		t.Fatal(err)
	}
	return background(t, b.Run)
}

func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }() // ends with ctx
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// work runs tasks until the test ends.
func (f *fixture) work(t *testing.T) {
	t.Helper()
	background(t, func(ctx context.Context) error {
		for {
			leases, err := f.store.Lease(ctx, driver.LeaseRequest{Owner: "w", Queues: []string{"default", "media"}, Names: names, Max: 10})
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the test has ended
			}
			if err != nil {
				return err
			}
			for _, l := range leases {
				if err := f.finish(ctx, l); err != nil {
					return err
				}
			}
		}
	})
}

func (f *fixture) finish(ctx context.Context, l *driver.Lease) error {
	next, err := f.client.Tasks.Next(l.Task)
	if err != nil {
		return err
	}
	o := driver.Outcome{State: jobs.StateSuccess}
	o.Result, err = json.Marshal(map[string]json.RawMessage{"args": l.Task.Args, "kwargs": l.Task.Kwargs})
	switch l.Task.Name {
	case "fail":
		o = driver.Outcome{State: jobs.StateFailed, Error: "ValueError: out of luck"}
	case "sum":
		o.Result = l.Task.Args
	}
	o.Next, o.NextGroups = next(o.State, o.Result, o.Error)
	return errors.Join(err, f.store.Finish(ctx, l, o))
}

// call is a message of a Celery client.
type call struct {
	headers map[string]any // in addition to those that every message has
	body    string
	queue   string
	raw     map[string]any // keys of the message to replace
}

func (c call) text(t *testing.T, id, task string) string {
	t.Helper()
	headers := map[string]any{
		"lang": "py", "task": task, "id": id, "eta": nil, "expires": nil, "group": nil, "group_index": nil, "retries": 0,
		"timelimit": []any{nil, nil}, "root_id": id, "parent_id": nil, "argsrepr": "()", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": false,
	}
	maps.Copy(headers, c.headers)
	queue := c.queue
	if queue == "" {
		queue = "celery"
	}
	message := map[string]any{
		"body": base64.StdEncoding.EncodeToString([]byte(c.body)), "content-type": "application/json", "content-encoding": "utf-8", "headers": headers,
		"properties": map[string]any{"correlation_id": id, "body_encoding": "base64", "priority": 0, "delivery_info": map[string]any{"exchange": "", "routing_key": queue}},
	}
	maps.Copy(message, c.raw)
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const plain = `[[1, 2], {"z": 3}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`

func (f *fixture) push(t *testing.T, list, text string) {
	t.Helper()
	if err := f.redis.LPush(t.Context(), list, text).Err(); err != nil {
		t.Fatal(err)
	}
}

// meta is a stored result.
type meta struct {
	Status string          `json:"status"`
	Result json.RawMessage `json:"result"`
	ID     string          `json:"task_id"`
}

// result waits for the result of a task.
func (f *fixture) result(t *testing.T, key string) (m meta) {
	t.Helper()
	testutil.Eventually(t, "result "+key, func() bool {
		text, err := f.redis.Get(t.Context(), key).Bytes()
		return err == nil && json.Unmarshal(text, &m) == nil
	})
	return m
}

func (f *fixture) wantResult(t *testing.T, id, status, result string) {
	t.Helper()
	if m := f.result(t, "celery-task-meta-"+id); m.Status != status || string(m.Result) != result || m.ID != id {
		t.Errorf("%s: %s %s %s, want %s %s", id, m.ID, m.Status, m.Result, status, result)
	}
}

// rejected returns the reasons of rejected messages, oldest first.
func (f *fixture) rejected(t *testing.T, count int) (reasons []string) {
	t.Helper()
	testutil.Eventually(t, fmt.Sprintf("%d rejected messages", count), func() bool {
		all, err := f.redis.LRange(t.Context(), "gale:celery:rejected", 0, -1).Result()
		reasons = all
		return err == nil && len(all) == count
	})
	return reasons
}

// A message becomes a task of the same id, and its result is stored and published where
// Celery clients wait for it.
func TestMessageBecomesTask(t *testing.T) {
	f := newFixture(t)
	sub := f.redis.Subscribe(t.Context(), "celery-task-meta-one")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.bridge(t, celery.Options{Queues: []string{"celery", "media"}})
	f.work(t)
	f.push(t, "celery", call{body: plain, headers: map[string]any{"trace": "x", "timelimit": []any{9, 4}, "retries": 1}}.text(t, "one", "echo"))
	f.push(t, "media\x06\x166", call{body: plain, queue: "media", headers: map[string]any{"ignore_result": true}}.text(t, "silent", "echo"))
	f.push(t, "media", call{body: `[[],{},{}]`, queue: "media"}.text(t, "bad", "fail"))

	f.wantResult(t, "one", "SUCCESS", `{"args":[1,2],"kwargs":{"z":3}}`)
	m, err := sub.ReceiveMessage(t.Context())
	if err != nil || !strings.Contains(m.Payload, `"SUCCESS"`) {
		t.Errorf("published %v, %v", m, err)
	}
	one, err := f.store.Get(t.Context(), "one")
	if err != nil || one.Timeout != 9*time.Second || one.Queue != "default" || one.MaxRetries != 2 || string(one.Headers) != `{"retries":1,"root_id":"one","trace":"x"}` {
		t.Errorf("task %+v with headers %s, %v", one, one.Headers, err)
	}
	f.wantResult(t, "bad", "FAILURE", `{"exc_type":"ValueError","exc_message":["out of luck"],"exc_module":"builtins"}`)
	testutil.Eventually(t, "the end of the silent task", func() bool {
		n, err := f.redis.HLen(t.Context(), "gale:celery:waiting").Result()
		return err == nil && n == 0
	})
	if n, err := f.redis.Exists(t.Context(), "celery-task-meta-silent").Result(); err != nil || n != 0 {
		t.Errorf("a task without result has one: %v, %v", n, err)
	}
	if silent, err := f.store.Get(t.Context(), "silent"); err != nil || silent.State != jobs.StateSuccess || silent.Queue != "media" {
		t.Errorf("task without result: %+v, %v", silent, err)
	}
	if s := f.counters.Stats(); s.Accepted != 3 || s.Results != 2 || s.Rejected != 0 {
		t.Errorf("counters %+v", s)
	}
	if n, err := f.redis.TTL(t.Context(), "celery-task-meta-one").Result(); err != nil || n < 23*time.Hour {
		t.Errorf("the result is kept for %v, %v", n, err)
	}
}

// What a bridge cannot run goes to a list with the reason, unchanged, and is not lost.
func TestRejectedMessages(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ text, reason string }{
		{"garbage", "not a message of Celery"},
		{"\xff\xfe", "not a message of Celery"},
		{`{"body":"","headers":{}}`, "protocol 2"},
		{call{body: plain}.text(t, "a b", "echo"), "id"},
		{call{body: plain}.text(t, "r1", "unknown"), "unknown task"},
		{call{body: `[[NaN],{},{}]`}.text(t, "r2", "echo"), "NaN"},
		{call{body: `[[1],{}]`}.text(t, "r3", "echo"), "body is not an array"},
		{call{body: `[{},{},{}]`}.text(t, "r4", "echo"), "wrong arguments"},
		{call{body: plain, raw: map[string]any{"content-type": "application/x-python-serialize"}}.text(t, "r5", "echo"), "task_serializer"},
		{call{body: plain, raw: map[string]any{"body": "%%"}}.text(t, "r6", "echo"), "body"},
		{call{body: plain, headers: map[string]any{"compression": "application/x-bz2"}}.text(t, "r7", "echo"), "compression"},
		{call{body: plain, headers: map[string]any{"compression": "application/x-gzip"}}.text(t, "r8", "echo"), "zlib"},
		{call{body: plain, headers: map[string]any{"eta": "tomorrow"}}.text(t, "r9", "echo"), "eta"},
		{call{body: plain, headers: map[string]any{"big": strings.Repeat("x", jobs.MaxHeaders)}}.text(t, "r10", "echo"), "headers"},
		{call{body: `[[],{},{"callbacks":[{"task":"unknown"}]}]`}.text(t, "r11", "echo"), "unknown task"},
		{call{body: `[[],{},{"chain":[{"task":"echo","options":{"countdown":3}}]}]`}.text(t, "r12", "echo"), "countdown"},
		{call{body: `[[],{},{"chain":[{"task":"echo"},{"task":"celery.group","kwargs":{"tasks":[{"task":"echo"}]}}]}]`}.text(t, "r13", "echo"), "group without a body"},
	} {
		f.push(t, "celery", c.text)
		stop := f.bridge(t, celery.Options{})
		entries := f.rejected(t, 1)
		var r struct{ Reason, Message, Encoding string }
		if err := json.Unmarshal([]byte(entries[0]), &r); err != nil {
			t.Fatal(err)
		}
		if r.Encoding == "base64" {
			decoded, err := base64.StdEncoding.DecodeString(r.Message)
			if err != nil {
				t.Error(err)
			}
			r.Message = string(decoded)
		}
		if !strings.Contains(r.Reason, c.reason) || r.Message != c.text {
			t.Errorf("%.60q: reason %q, message %.60q; want %q", c.text, r.Reason, r.Message, c.reason)
		}
		stop()
		if err := f.redis.Del(t.Context(), "gale:celery:rejected").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := f.store.List(t.Context(), jobs.Query{}); err != nil || len(page.Tasks) != 0 {
		t.Errorf("tasks of rejected messages: %v, %v", page, err)
	}
	if n, err := f.redis.HLen(t.Context(), "gale:celery:waiting").Result(); err != nil || n != 0 {
		t.Errorf("%d entries are left, %v", n, err)
	}
}

// Messages that a killed bridge has taken, and results that it owed, are taken over.
func TestTakeOver(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	// A bridge was killed: one message is in its list, and the task of another is stored.
	err := errors.Join(
		f.redis.SAdd(ctx, "gale:celery:bridges", "dead").Err(),
		f.redis.LPush(ctx, "gale:celery:taken:dead", call{body: plain}.text(t, "taken", "echo")).Err(),
		f.redis.HSet(ctx, "gale:celery:waiting", "stored", fmt.Sprintf(`{"owner":"dead","time":%d,"task":"echo"}`, time.Now().Unix())).Err(),
		f.redis.HSet(ctx, "gale:celery:waiting", "of-another", fmt.Sprintf(`{"owner":"living","time":%d,"task":"echo"}`, time.Now().Unix())).Err(),
		f.redis.Set(ctx, "gale:celery:alive:living", "1", 0).Err(),
		f.redis.SAdd(ctx, "gale:celery:bridges", "living").Err(),
		f.redis.LPush(ctx, "gale:celery:taken:living", call{body: plain}.text(t, "not-mine", "echo")).Err(),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"stored", "of-another"} {
		if _, _, err := f.client.Enqueue(ctx, jobs.NewTask{ID: id, Name: "echo"}); err != nil {
			t.Fatal(err)
		}
	}
	f.work(t)
	f.bridge(t, celery.Options{})
	f.wantResult(t, "taken", "SUCCESS", `{"args":[1,2],"kwargs":{"z":3}}`)
	f.wantResult(t, "stored", "SUCCESS", `{"args":[],"kwargs":{}}`)
	if n, err := f.redis.LLen(ctx, "gale:celery:taken:living").Result(); err != nil || n != 1 {
		t.Errorf("the list of a living bridge has %d messages, %v", n, err)
	}
	if n, err := f.redis.Exists(ctx, "celery-task-meta-of-another").Result(); err != nil || n != 0 {
		t.Errorf("the result of a living bridge was stored: %d, %v", n, err)
	}
	if all, err := f.redis.SMembers(ctx, "gale:celery:bridges").Result(); err != nil || len(all) != 2 {
		t.Errorf("bridges %v, %v", all, err)
	}
}

// Times, revoked ids and the key prefix of Celery are observed.
func TestTimesAndRevoke(t *testing.T) {
	f := newFixture(t)
	f.bridge(t, celery.Options{Prefix: "app:"})
	f.work(t)
	revoke := func(id string) {
		t.Helper()
		body := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"method":"revoke","arguments":{"task_id":%q,"terminate":false},"destination":null}`, id))
		text := fmt.Sprintf(`{"body":%q,"content-type":"application/json","properties":{"body_encoding":"base64"}}`, body)
		testutil.Eventually(t, "a bridge that listens", func() bool {
			n, err := f.redis.Publish(t.Context(), "/0.celery.pidbox", text).Result()
			return err == nil && n > 0
		})
	}
	later := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000")
	f.push(t, "app:celery", call{body: plain, headers: map[string]any{"eta": later}}.text(t, "later", "echo"))
	testutil.Eventually(t, "the task", func() bool {
		got, err := f.store.Get(t.Context(), "later")
		return err == nil && got.State == jobs.StateScheduled && time.Until(got.RunAt) > 58*time.Minute
	})
	revoke("later")
	if m := f.result(t, "app:celery-task-meta-later"); m.Status != "REVOKED" || !strings.Contains(string(m.Result), "TaskRevokedError") {
		t.Errorf("revoked: %+v %s", m, m.Result)
	}
	revoke("early") // before its message
	testutil.Eventually(t, "the revoked id", func() bool { return f.redis.ZScore(t.Context(), "app:gale:celery:revoked", "early").Err() == nil })
	f.push(t, "app:celery", call{body: plain}.text(t, "early", "echo"))
	if m := f.result(t, "app:celery-task-meta-early"); m.Status != "REVOKED" {
		t.Errorf("revoked before: %+v", m)
	}
	f.push(t, "app:celery", call{body: plain, headers: map[string]any{"expires": "2020-01-01T00:00:00"}}.text(t, "old", "echo"))
	if m := f.result(t, "app:celery-task-meta-old"); m.Status != "REVOKED" || !strings.Contains(string(m.Result), "expired") {
		t.Errorf("expired: %+v %s", m, m.Result)
	}
	for _, id := range []string{"early", "old"} {
		if _, err := f.store.Get(t.Context(), id); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	f.push(t, "app:celery", call{body: plain}.text(t, "fine", "echo"))
	if m := f.result(t, "app:celery-task-meta-fine"); m.Status != "SUCCESS" {
		t.Errorf("the others: %+v", m)
	}
	if s := f.counters.Stats(); s.Dropped != 2 {
		t.Errorf("counters %+v", s)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for address, want := range map[string]string{
		"":            "broker of Celery",
		"amqp://host": "broker of Celery",
		"redis://:secret@a:1,redis://:secret@b:1": "does not support a cluster",
	} {
		_, err := celery.New(&jobs.Client{}, celery.Options{Address: address})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	if _, err := celery.New(&jobs.Client{}, celery.Options{Address: "redis://127.0.0.1:1", Results: "x"}); err == nil || !strings.Contains(err.Error(), "result backend") {
		t.Errorf("results: %v", err)
	}
}

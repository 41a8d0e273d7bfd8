package redisstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
)

// taskArgs returns the script arguments for a task. The function accept in lib.lua reads
// them; the constant FIELDS there is their number.
func taskArgs(n jobs.NewTask) []any {
	queue, args := n.Queue, string(n.Args)
	if queue == "" {
		queue = jobs.DefaultQueue
	}
	if n.Args == nil {
		args = "[]"
	}
	return []any{
		n.ID, n.Name, queue, args, micro(n.RunAt), int64(n.Timeout), n.MaxRetries, n.Signature, micro(n.Expires),
		strings.Join(n.Followers, " "), n.Digest, string(n.Kwargs), string(n.Headers), onError(n),
	}
}

// onError returns the tasks that follow n when it ends as dead or failed without a worker, as
// the function accept_onerror in lib.lua reads them; "" for none.
func onError(n jobs.NewTask) string {
	if len(n.Signature) == 0 {
		return ""
	}
	links := n.ErrorLinks()
	if len(links) == 0 {
		return ""
	}
	all := make([][]string, len(links))
	for i, l := range links {
		for _, value := range taskArgs(l.NewTask) {
			text := fmt.Sprint(value)
			if raw, ok := value.([]byte); ok {
				text = string(raw)
			}
			all[i] = append(all[i], text)
		}
		all[i] = append(all[i], map[bool]string{false: "0", true: "1"}[l.Immutable])
	}
	text, err := jsonText(all)
	if err != nil {
		return "" // cannot fail: the values are texts
	}
	return text
}

// decodeTask decodes the hash of a task, a list of fields and values. If a field occurs
// twice, the last value counts. A queued task whose RunAt is after now becomes scheduled.
func decodeTask(id string, reply any, now int64) (*jobs.Task, error) {
	f, err := decodeHash(reply)
	if err != nil {
		return nil, fmt.Errorf("decode task %s: %w", id, err)
	}
	return f.task(id, now)
}

func (f *fields) task(id string, now int64) (*jobs.Task, error) {
	t := &jobs.Task{
		ID: id, Name: f.text("name"), Queue: f.text("queue"), Args: f.raw("args"), Kwargs: f.raw("kwargs"), Headers: f.raw("headers"), State: jobs.State(f.text("state")),
		Progress: int(f.number("progress")), Note: f.text("note"), Attempts: int(f.number("attempts")), Worker: f.text("worker"),
		Created: fromMicro(f.number("created")), Started: f.time("started"), Finished: f.time("finished"),
		Result: f.raw("result"), Error: f.text("error"), Artifacts: []string{},
		Version: f.number("version"), RunAt: fromMicro(f.number("run_at")), Timeout: time.Duration(f.number("timeout")),
		MaxRetries: int(f.number("retries")), Lost: int(f.number("lost")), Signature: f.raw("sig"), Group: f.text("group"),
		Workflow: f.text("workflow"), Digest: f.text("digest"), Aborted: f.text("aborted") != "",
	}
	t.Ended = decodeEnded(f.text("ended"))
	if v := f.text("followers"); v != "" {
		t.Followers = strings.Fields(v)
	}
	if a := f.raw("artifacts"); a != nil && f.err == nil {
		f.err = json.Unmarshal(a, &t.Artifacts)
	}
	t.Failures = f.failures()
	if f.err != nil {
		return nil, fmt.Errorf("decode task %s: %w", id, f.err)
	}
	if t.State == jobs.StateQueued && f.number("run_at") > now {
		t.State = jobs.StateScheduled
	}
	t.Repair()
	return t, nil
}

// decodeEnded decodes the leases that end.lua has stored, one in each line.
func decodeEnded(text string) (all []jobs.EndedLease) {
	for line := range strings.Lines(text) {
		attempt, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		state, owner, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(attempt)
		if err == nil {
			all = append(all, jobs.EndedLease{Attempt: n, Owner: owner, State: jobs.State(state)})
		}
	}
	return all
}

// fields is a decoded hash. err is the error of the first value that could not be decoded.
type fields struct {
	values map[string]string
	err    error
}

func decodeHash(reply any) (*fields, error) {
	list, ok := reply.([]any)
	if !ok || len(list)%2 != 0 {
		return nil, fmt.Errorf("the reply is %T, not a hash", reply)
	}
	f := &fields{values: make(map[string]string, len(list)/2)}
	for i := 0; i < len(list); i += 2 {
		k, v, err := textPair(list[i], list[i+1])
		if err != nil {
			return nil, err
		}
		f.values[k] = v
	}
	return f, nil
}

// decodeRow decodes a list of values with the given names. A value may be nil.
func decodeRow(names []string, reply any) (*fields, error) {
	list, ok := reply.([]any)
	if !ok || len(list) != len(names) {
		return nil, fmt.Errorf("the reply is %T, not a list of %d values", reply, len(names))
	}
	f := &fields{values: make(map[string]string, len(list))}
	for i, v := range list {
		if v == nil {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s: the value is %T, not text", names[i], v)
		}
		f.values[names[i]] = text
	}
	return f, nil
}

func textPair(a, b any) (string, string, error) {
	x, ok := a.(string)
	y, ok2 := b.(string)
	if !ok || !ok2 {
		return "", "", fmt.Errorf("field and value are %T and %T, not text", a, b)
	}
	return x, y, nil
}

func (f *fields) text(name string) string { return f.values[name] }

// raw returns nil for a missing or empty value.
func (f *fields) raw(name string) []byte {
	if v := f.values[name]; v != "" {
		return []byte(v)
	}
	return nil
}

func (f *fields) number(name string) int64 {
	v := f.values[name]
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", name, err)
	}
	return n
}

func (f *fields) time(name string) *time.Time {
	if f.values[name] == "" {
		return nil
	}
	t := fromMicro(f.number(name))
	return &t
}

// failures decodes the field failures. Each line is the JSON of one failure, so that a script
// can append one without decoding the others.
func (f *fields) failures() []jobs.Failure {
	all := []jobs.Failure{}
	for line := range strings.Lines(f.values["failures"]) {
		var one struct {
			US      int64  `json:"us"`
			Attempt int    `json:"attempt"`
			Error   string `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil && f.err == nil {
			f.err = fmt.Errorf("failures: %w", err)
		}
		all = append(all, jobs.Failure{Time: fromMicro(one.US), Attempt: one.Attempt, Error: one.Error})
	}
	return all
}

// jsonText returns v as JSON on one line, without HTML escapes.
func jsonText(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

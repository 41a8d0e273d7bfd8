package celery

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// resultsFor is how long a result is kept, as with the default result_expires of Celery.
const resultsFor = 24 * time.Hour

// State names of Celery.
const (
	stateSuccess = "SUCCESS"
	stateFailure = "FAILURE"
	stateRevoked = "REVOKED"
)

// outcome is the end of a task in Celery's terms. Without a state there is no result.
type outcome struct {
	state  string
	result json.RawMessage // for SUCCESS
	reason string          // error text for other states
	name   string          // type of the exception, default by the reason and state
	module string
}

// outcomeOf returns the outcome of a task that has ended.
func outcomeOf(t *jobs.Task) outcome {
	switch t.State {
	case jobs.StateSuccess:
		return outcome{state: stateSuccess, result: t.Result}
	case jobs.StateCancelled:
		reason := "terminated"
		if t.Error == driver.ExpiredReason {
			reason = "expired"
		}
		return outcome{state: stateRevoked, reason: reason}
	case jobs.StateDead:
		return outcome{state: stateFailure, reason: t.Error, name: "WorkerLostError", module: "billiard.exceptions"}
	}
	return outcome{state: stateFailure, reason: t.Error}
}

// exceptionText is an error text that begins with the type of a Python exception.
var exceptionText = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_.]*)\.)?([A-Z][A-Za-z0-9_]*(?:Error|Exception|Warning|Exit|Interrupt|Exceeded)): ?((?s:.*))$`)

// exception is the result of a task that did not succeed.
type exception struct {
	Type    string   `json:"exc_type"`
	Message []string `json:"exc_message"`
	Module  string   `json:"exc_module"`
}

func (o outcome) exception() exception {
	switch {
	case o.name != "":
		return exception{o.name, []string{o.reason}, o.module}
	case o.state == stateRevoked:
		return exception{"TaskRevokedError", []string{o.reason}, "celery.exceptions"}
	}
	text, _, _ := strings.Cut(o.reason, "\n")
	if m := exceptionText.FindStringSubmatch(text); m != nil {
		module := m[1]
		if module == "" {
			module = "builtins"
		}
		return exception{m[2], []string{m[3]}, module}
	}
	return exception{"Exception", []string{o.reason}, "builtins"}
}

// value returns the result as JSON.
func (o outcome) value() (json.RawMessage, error) {
	switch {
	case o.state != stateSuccess:
		return json.Marshal(o.exception())
	case len(o.result) == 0:
		return json.RawMessage("null"), nil
	}
	return o.result, nil
}

// meta returns the outcome as the result backend of Celery stores it.
func (o outcome) meta(id string) (string, error) {
	value, err := o.value()
	if err != nil {
		return "", err
	}
	var traceback *string
	if o.state != stateSuccess {
		traceback = &o.reason
	}
	text, err := json.Marshal(map[string]any{
		"status": o.state, "result": value, "traceback": traceback, "children": []any{},
		"date_done": time.Now().UTC().Format("2006-01-02T15:04:05.000000"), "task_id": id,
	})
	return string(text), err
}

// publish stores and publishes the outcome of a task, and counts the task if it is a part of
// a chord. A second call for a task changes nothing.
func (b *Bridge) publish(ctx context.Context, id string, e *entry, o outcome) error {
	keys := []string{b.keys.waiting(), b.keys.result(id)}
	args := []any{id, "", int(resultsFor.Seconds())}
	if !e.Silent && o.state != "" {
		text, err := o.meta(id)
		if err != nil {
			return fmt.Errorf("encode the result of %s: %w", id, err)
		}
		args[1] = text
	}
	if e.Chord != nil && e.Group != "" && o.state != "" {
		value, err := o.value()
		if err != nil {
			return err
		}
		part, err := json.Marshal([]any{1, id, o.state, value})
		if err != nil {
			return err
		}
		g := e.Group
		keys = append(keys, b.keys.group(g, ".j"), b.keys.group(g, ".s"), b.keys.group(g, ".t"), b.keys.counted(g), b.keys.bodies())
		args = append(args, e.Index, part, g, string(e.Chord))
	}
	done, err := resultScript.Run(ctx, b.results, keys, args...).Int()
	if err != nil {
		return fmt.Errorf("store the result of %s: %w", id, err)
	}
	if done > 0 && args[1] != "" {
		b.counters.results.Add(1)
	}
	if done == 2 {
		return b.runBodies(ctx)
	}
	return nil
}

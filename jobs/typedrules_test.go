package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

type ruled struct {
	Copies  int           `json:"copies" default:"1" validate:"min=1,lte=100"`
	Size    string        `json:"size,omitempty" validate:"omitempty,oneof=s m"`
	Kind    string        `json:"kind" validate:"required,oneof='in stock' sold"`
	Level   *int          `json:"level" validate:"omitempty,oneof=1 2"`
	Weight  float64       `json:"weight,omitzero" validate:"gte=0,lt=2.5"`
	Names   []string      `json:"names,omitempty" validate:"min=0,max=2,unique,dive,email"`
	Mail    *string       `json:"mail" validate:"omitempty,email,max=20"`
	Code    string        `json:"code,omitempty" validate:"len=0|len=3"`
	Count   uint          `json:"count,omitzero" validate:"max=0x7"`
	Timeout time.Duration `json:"timeout,omitzero" validate:"max=1s"`
}

// A task whose input breaks a rule is not enqueued. A stored one fails without being run.
func TestTypedRules(t *testing.T) {
	ran := false
	task := jobs.Define("ruled", func(context.Context, *jobs.Job, ruled) (int, error) { ran = true; return 0, nil })
	client, store := clientOf(t, task.Definition())
	for kwargs, why := range map[string]string{
		`{"kind":"sold"}`:                           "",
		`{"kind":"sold","copies":0}`:                "input of ruled: copies must be at least 1",
		`{"kind":"sold","copies":101,"level":3}`:    "copies must be at most 100; input of ruled: level must be one of: 1, 2",
		`{"kind":"sold","names":["a"]}`:             "names[0] must be an email address",
		`{"kind":"gone"}`:                           "kind must be one of: in stock, sold",
		`{"kind":"sold","weight":2.5,"count":8}`:    "weight must be less than 2.5; input of ruled: count must be at most 0x7",
		`{"kind":"sold","copies":"x","weight":2.5}`: "copies must be an integer",
	} {
		accepted := len(store.all)
		_, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "ruled", Kwargs: json.RawMessage(kwargs)})
		switch {
		case why == "" && err != nil, why != "" && (!errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), why)):
			t.Errorf("%s: %v, want %q", kwargs, err, why)
		case (len(store.all) > accepted) != (why == ""):
			t.Errorf("%s: %d tasks were stored", kwargs, len(store.all)-accepted)
		}
	}
	if _, err := task.Enqueue(t.Context(), client, ruled{Kind: "sold"}); !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), "copies must be at least 1") {
		t.Errorf("Typed.Enqueue: %v", err)
	}
	_, err := task.Definition().Job(&jobs.Task{Name: "ruled", Args: json.RawMessage(`[{"kind":"sold","copies":0}]`)}, 1, slog.New(slog.DiscardHandler), nil)
	if !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), "copies must be at least 1") || ran {
		t.Errorf("a worker: %v, ran %v", err, ran)
	}
}

// The schema has the rules that JSON Schema knows, and leaves out those that an empty value
// need not satisfy.
func TestTypedSchemaRules(t *testing.T) {
	task := jobs.Define("ruled", func(context.Context, *jobs.Job, ruled) (int, error) { return 0, nil })
	text, err := task.Definition().Schema()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Prefix []struct{ Properties map[string]json.RawMessage } `json:"prefixItems"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"copies":  `{"type":"integer","minimum":1,"default":1,"maximum":100}`,
		"size":    `{"type":"string"}`,
		"kind":    `{"type":"string","minLength":1,"enum":["in stock","sold"]}`,
		"level":   `{"type":["integer","null"],"enum":[1,2,null]}`,
		"weight":  `{"type":"number","minimum":0,"exclusiveMaximum":2.5}`,
		"names":   `{"type":["array","null"],"items":{"type":"string"},"minItems":0,"maxItems":2,"uniqueItems":true}`,
		"mail":    `{"type":["string","null"],"format":"email","maxLength":20}`,
		"code":    `{"type":"string"}`,
		"count":   `{"type":"integer","minimum":0,"maximum":7}`,
		"timeout": `{"type":"integer","maximum":1000000000}`,
	} {
		if text := string(got.Prefix[0].Properties[name]); text != want {
			t.Errorf("%s: %s, want %s", name, text, want)
		}
	}
}

// A tag that cannot be used is an error of NewRegistry, so the program does not start.
func TestTypedBrokenTag(t *testing.T) {
	type broken struct {
		Copies int `validate:"least=1"`
	}
	task := jobs.Define("broken", func(context.Context, *jobs.Job, broken) (int, error) { return 0, nil })
	_, err := jobs.NewRegistry(task.Definition())
	for _, part := range []string{`"broken"`, "field Copies of jobs_test.broken", `validate:"least=1"`, "'least'"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %s", err, part)
		}
	}
}

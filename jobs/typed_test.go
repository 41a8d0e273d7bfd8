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

// accepting is a store that records the tasks it accepts.
type accepting struct {
	jobs.Store
	all []jobs.NewTask
}

func (a *accepting) Enqueue(_ context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	if err := n.Check(); err != nil {
		return nil, false, err
	}
	a.all = append(a.all, n)
	return &jobs.Task{ID: n.ID, Name: n.Name, Queue: n.Queue, Args: n.Args}, true, nil
}

func clientOf(t *testing.T, tasks ...jobs.Definition) (*jobs.Client, *accepting) {
	t.Helper()
	registry, err := jobs.NewRegistry(tasks...)
	if err != nil {
		t.Fatal(err)
	}
	store := &accepting{}
	return &jobs.Client{Store: store, Tasks: registry}, store
}

type base struct {
	Customer string `json:"customer"`
}

type item struct {
	Name  string  `json:"name"`
	Price float64 `json:"price,omitempty"`
}

type order struct {
	base
	Copies int            `json:"copies" default:"1"`
	Items  []item         `json:"items,omitempty"`
	Tags   map[string]int `json:"tags,omitempty"`
	Due    *time.Time     `json:"due"`
	Level  uint8          `json:"level,omitzero"`
	Secret string         `json:"-"`
}

var printOrder = jobs.Define("print_order", func(_ context.Context, _ *jobs.Job, in order) (order, error) {
	in.Copies *= 2
	return in, nil
}, jobs.Queue("printers"), jobs.Retries(3), jobs.Timeout(time.Minute), jobs.RateLimit("10/s"))

func TestTypedArguments(t *testing.T) {
	client, store := clientOf(t, printOrder.Definition())
	for _, c := range []struct{ name, args, kwargs, want string }{
		{"object", `[{"customer":"a","copies":2}]`, ``, `[{"customer":"a","copies":2}]`},
		{"keywords", ``, `{"copies":2,"customer":"a"}`, `[{"copies":2,"customer":"a"}]`},
		{"values in order", `["a",2]`, ``, `[{"customer":"a","copies":2}]`},
		{"values and keywords", `["a"]`, `{"level":3}`, `[{"customer":"a","level":3,"copies":1}]`},
		{"object and keywords", `[{"customer":"a"}]`, `{"copies":3}`, `[{"customer":"a","copies":3}]`},
		{"default", `["a"]`, ``, `[{"customer":"a","copies":1}]`},
		{"nested", `[]`, `{"customer":"a","copies":1,"items":[{"name":"x"}],"tags":{"b":1},"due":"2030-01-02T03:04:05Z"}`,
			`[{"customer":"a","copies":1,"items":[{"name":"x"}],"tags":{"b":1},"due":"2030-01-02T03:04:05Z"}]`},
		{"null for a pointer and a slice", `[]`, `{"customer":"a","copies":1,"items":null,"due":null}`, `[{"customer":"a","copies":1,"items":null,"due":null}]`},
	} {
		_, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "print_order", Args: json.RawMessage(c.args), Kwargs: json.RawMessage(c.kwargs)})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := string(store.all[len(store.all)-1].Args); got != c.want {
			t.Errorf("%s: stored %s, want %s", c.name, got, c.want)
		}
	}
	accepted := len(store.all)
	for _, c := range []struct{ name, args, kwargs, why string }{
		{"missing", `[]`, ``, "customer is missing"},
		{"unknown", `[{"customer":"a","copy":1}]`, ``, "copy is unknown; there are: customer, copies, items"},
		{"another case", `[{"Customer":"a"}]`, ``, "Customer is unknown"},
		{"left out by its tag", `[{"customer":"a","Secret":"x"}]`, ``, "Secret is unknown"},
		{"twice", `["a"]`, `{"customer":"b"}`, "customer is given twice"},
		{"twice in an object", `[{"customer":"a","customer":"b"}]`, ``, "customer is given twice"},
		{"twice in keywords", ``, `{"customer":"a","customer":"b"}`, "customer of print_order is given twice"},
		{"type", `[{"customer":7}]`, ``, "customer must be a string, not number"},
		{"range", `["a"]`, `{"level":300}`, "level must be an integer from 0 to 255"},
		{"null", `["a",null]`, ``, "copies must not be null"},
		{"nested type", `["a"]`, `{"items":[{"name":"x"},{"name":"y","price":"z"}]}`, "items[1].price must be a number"},
		{"nested missing", `["a"]`, `{"items":[{}]}`, "items[0].name is missing"},
		{"nested unknown", `["a"]`, `{"items":[{"name":"x","cost":1}]}`, "items[0].cost is unknown; there are: name, price"},
		{"map", `["a"]`, `{"tags":{"b":"c"}}`, "tags.b must be an integer"},
		{"time", `["a"]`, `{"due":"soon"}`, "due cannot be read"},
		{"too many", `["a",1,[],{},null,1,2]`, ``, "takes at most 6"},
		{"no object", `["a"]`, `[1]`, "must be a JSON object"},
		{"more than an object", ``, `{"customer":"a"}]`, "must be a JSON object"},
		{"several", `[{"copies":"x","y":1}]`, ``, "copies must be an integer"},
	} {
		_, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "print_order", Args: json.RawMessage(c.args), Kwargs: json.RawMessage(c.kwargs)})
		if !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
	}
	if len(store.all) != accepted {
		t.Error("invalid arguments were accepted")
	}
}

// The handler receives the input that was passed to Enqueue, and its result can be the
// input of the next task.
func TestTypedEnqueueAndRun(t *testing.T) {
	client, store := clientOf(t, printOrder.Definition())
	at := time.Now().Add(time.Hour)
	due := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	in := order{base: base{"a"}, Copies: 2, Items: []item{{"x", 1.5}}, Due: &due}
	task, err := printOrder.Enqueue(t.Context(), client, in,
		jobs.At(at), jobs.ID("mine"), jobs.Queue("slow"), jobs.Unique("k", time.Minute), jobs.Retries(0), jobs.Timeout(0), jobs.Expires(at.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	n := store.all[0]
	if n.ID != "mine" || n.Queue != "slow" || !n.RunAt.Equal(at) || n.Unique != "k" || n.MaxRetries != 0 || n.Timeout != 0 || n.Expires.IsZero() {
		t.Errorf("accepted %+v", n)
	}
	before := time.Now()
	if _, err := printOrder.Enqueue(t.Context(), client, in, jobs.In(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if due := store.all[1].RunAt; due.Before(before.Add(time.Hour)) || due.After(time.Now().Add(time.Hour)) {
		t.Errorf("In an hour is %v", due)
	}
	d := printOrder.Definition()
	if d.Queue != "printers" || d.MaxRetries != 3 || d.Timeout != time.Minute || d.Rate.Count != 10 {
		t.Errorf("definition %+v", d)
	}
	run := func(task *jobs.Task) order {
		job, err := d.Job(task, 1, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Handler(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		var out order
		if err := json.Unmarshal(job.Result(), &out); err != nil {
			t.Fatal(err)
		}
		task.Args, err = jobs.NewTask{Args: json.RawMessage(`[]`)}.JoinResults("", []json.RawMessage{job.Result()})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := run(task); out.Copies != 4 || out.Customer != "a" || out.Items[0] != in.Items[0] || !out.Due.Equal(due) {
		t.Errorf("first result %+v", out)
	}
	if out := run(task); out.Copies != 8 {
		t.Errorf("the second task has the arguments %s, result %+v", task.Args, out)
	}
	for name, args := range map[string]string{"a later version's": `[{"customer":"a","copies":1,"new":true}]`, "a result behind keywords": `[{"copies":1},"a"]`, "an object behind keywords": `[{"copies":1},{"customer":"a"}]`} {
		if out := run(&jobs.Task{Name: "print_order", Args: json.RawMessage(args)}); out.Copies != 2 || out.Customer != "a" {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if _, err := d.Job(&jobs.Task{Args: json.RawMessage(`[{}]`)}, 1, nil, nil); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("a task without what it needs: %v", err)
	}
	if _, err := printOrder.Enqueue(t.Context(), client, in, jobs.RateLimit("1/s")); !errors.Is(err, jobs.ErrOption) {
		t.Errorf("a rate for one task: %v", err)
	}
}

func TestTypedChainArguments(t *testing.T) {
	client, store := clientOf(t, printOrder.Definition())
	link := func(kwargs string) jobs.Link {
		return jobs.Link{NewTask: jobs.NewTask{Name: "print_order", Kwargs: json.RawMessage(kwargs)}}
	}
	if _, _, err := client.EnqueueChain(t.Context(), []jobs.Link{link(`{"customer":"a"}`), link(``), link(`{"level":1}`)}); err != nil {
		t.Fatal(err)
	}
	if message := string(store.all[0].Signature); !strings.Contains(message, `{"level":1}`) {
		t.Errorf("the stored chain is %s", message)
	}
	for kwargs, why := range map[string]string{`{"levels":1}`: "chain[1]: wrong arguments: input of print_order: levels is unknown", `{"level":"x"}`: "level must be an integer"} {
		if _, _, err := client.EnqueueChain(t.Context(), []jobs.Link{link(`{"customer":"a"}`), link(kwargs)}); !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", kwargs, err)
		}
	}
}

// Inputs that are not structs, and inputs without fields.
func TestOtherInputs(t *testing.T) {
	list := jobs.Define("list", func(_ context.Context, _ *jobs.Job, in []int) (int, error) { return len(in), nil })
	when := jobs.Define("when", func(_ context.Context, _ *jobs.Job, in time.Time) (int, error) { return in.Year(), nil })
	none := jobs.Define("none", func(context.Context, *jobs.Job, struct{}) (struct{}, error) { return struct{}{}, nil })
	client, store := clientOf(t, list.Definition(), when.Definition(), none.Definition())
	if _, err := list.Enqueue(t.Context(), client, []int{1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := when.Enqueue(t.Context(), client, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if _, err := none.Enqueue(t.Context(), client, struct{}{}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`[[1,2]]`, `["2030-01-01T00:00:00Z"]`, `[]`} {
		if got := string(store.all[i].Args); got != want {
			t.Errorf("stored %s, want %s", got, want)
		}
	}
	for name, args := range map[string]string{"list": `[]`, "when": `["soon"]`, "none": `[1]`} {
		if _, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: name, Args: json.RawMessage(args)}); !errors.Is(err, jobs.ErrArgs) {
			t.Errorf("%s of %s: %v", name, args, err)
		}
	}
	type bad struct{ C chan int }
	for name, d := range map[string]jobs.Definition{
		"channel": jobs.Define("bad", func(context.Context, *jobs.Job, bad) (int, error) { return 0, nil }).Definition(),
		"option":  jobs.Define("bad", func(context.Context, *jobs.Job, int) (int, error) { return 0, nil }, jobs.ID("x")).Definition(),
		"rate":    jobs.Define("bad", func(context.Context, *jobs.Job, int) (int, error) { return 0, nil }, jobs.RateLimit("often")).Definition(),
	} {
		if _, err := jobs.NewRegistry(d); err == nil || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tree is a recursive type.
type tree struct {
	Name     string  `json:"name"`
	Children []*tree `json:"children,omitempty"`
}

func TestTypedSchema(t *testing.T) {
	forest := jobs.Define("forest", func(context.Context, *jobs.Job, tree) (int, error) { return 0, nil })
	for name, c := range map[string]struct {
		d    jobs.Definition
		want string
	}{
		"order": {printOrder.Definition(), `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","prefixItems":[{"title":"input","type":"object","properties":{` +
			`"customer":{"type":"string"},"copies":{"type":"integer","default":1},` +
			`"items":{"type":["array","null"],"items":{"type":"object","properties":{"name":{"type":"string"},"price":{"type":"number"}},"required":["name"],"additionalProperties":false}},` +
			`"tags":{"type":["object","null"],"additionalProperties":{"type":"integer"}},"due":{"type":["string","null"],"format":"date-time"},"level":{"type":"integer","minimum":0}},` +
			`"required":["customer"],"additionalProperties":false}],"items":false,"minItems":1,"maxItems":1}`},
		"forest": {forest.Definition(), `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","prefixItems":[{"title":"input","$ref":"#/$defs/tree"}],"items":false,"minItems":1,"maxItems":1,` +
			`"$defs":{"tree":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":["array","null"],"items":{"$ref":"#/$defs/tree"}}},"required":["name"],"additionalProperties":false}}}`},
	} {
		got, err := c.d.Schema()
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
}

// A task with positional arguments accepts keyword arguments, too.
func TestKeywords(t *testing.T) {
	client, store := clientOf(t, jobs.Definition{
		Name: "mail", Handler: func(context.Context, *jobs.Job) error { return nil },
		Args: []jobs.Arg{{Name: "to", Type: jobs.ArgString}, {Name: "subject", Type: jobs.ArgString, Default: "none"}, {Name: "copies", Type: jobs.ArgInteger, Default: 1}},
	})
	for _, c := range []struct{ args, kwargs, want string }{
		{``, `{"to":"a"}`, `["a","none",1]`},
		{``, `{"copies":2,"to":"a"}`, `["a","none",2]`},
		{`["a"]`, `{"subject":"b"}`, `["a","b",1]`},
		{`["a","b"]`, `{}`, `["a","b",1]`},
	} {
		_, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Args: json.RawMessage(c.args), Kwargs: json.RawMessage(c.kwargs)})
		if err != nil {
			t.Errorf("%s %s: %v", c.args, c.kwargs, err)
		} else if got := store.all[len(store.all)-1]; string(got.Args) != c.want || got.Kwargs != nil {
			t.Errorf("%s %s: stored %s and %s, want %s", c.args, c.kwargs, got.Args, got.Kwargs, c.want)
		}
	}
	for _, c := range []struct{ args, kwargs, why string }{
		{``, `{"subject":"b"}`, "argument 1 of mail, to, is missing"},
		{`["a"]`, `{"to":"b"}`, "argument 1 of mail, to, is given twice"},
		{`["a"]`, `{"too":"b"}`, "mail has no argument too"},
		{`["a"]`, `{"copies":"b"}`, "argument 3 of mail, copies, must be an integer"},
		{`["a"]`, `{"copies":1.5}`, "must be an integer"},
	} {
		_, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Args: json.RawMessage(c.args), Kwargs: json.RawMessage(c.kwargs)})
		if !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s %s: %v, want %q", c.args, c.kwargs, err, c.why)
		}
	}
}

// A client without definitions stores keyword arguments, and the worker places them.
func TestStoredKeywords(t *testing.T) {
	d := jobs.Definition{
		Name: "mail",
		Args: []jobs.Arg{{Name: "to", Type: jobs.ArgString}, {Name: "subject", Type: jobs.ArgString, Default: "none"}, {Name: "copies", Type: jobs.ArgInteger, Default: 1}},
	}
	_, store := clientOf(t)
	unknowing := &jobs.Client{Store: store}
	for kwargs, want := range map[string]string{`{"to":"a"}`: `{"to":"a"}`, `{}`: ``, ``: ``} {
		if _, _, err := unknowing.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Kwargs: json.RawMessage(kwargs)}); err != nil {
			t.Errorf("a client without tasks: %s: %v", kwargs, err)
		} else if got := store.all[len(store.all)-1]; string(got.Kwargs) != want {
			t.Errorf("a client without tasks: %s: stored %s, want %q", kwargs, got.Kwargs, want)
		}
	}
	if _, _, err := unknowing.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Kwargs: json.RawMessage(`["a"]`)}); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("kwargs that are an array: %v", err)
	}
	// The handler gets them by position. A worker refuses those that do not fit.
	job, err := d.Job(&jobs.Task{Args: json.RawMessage(`["a"]`), Kwargs: json.RawMessage(`{"copies":3}`)}, 1, nil, nil)
	var to, subject string
	var copies int
	if err == nil {
		err = job.Args(&to, &subject, &copies)
	}
	if err != nil || to != "a" || copies != 3 {
		t.Errorf("stored kwargs: %q %q %d, %v", to, subject, copies, err)
	}
	if _, err := d.Job(&jobs.Task{Args: json.RawMessage(`[]`), Kwargs: json.RawMessage(`{"too":3}`)}, 1, nil, nil); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("stored kwargs that do not fit: %v", err)
	}
	d.Keywords = true
	job, err = d.Job(&jobs.Task{Args: json.RawMessage(`["a"]`), Kwargs: json.RawMessage(`{"too":3}`), Headers: json.RawMessage(`{"h":1}`)}, 1, nil, nil)
	if err != nil || job.Len() != 1 || string(job.Kwargs) != `{"too":3}` || string(job.Headers) != `{"h":1}` {
		t.Errorf("a task with keywords: %+v, %v", job, err)
	}
}

func TestPlaces(t *testing.T) {
	list := jobs.Define("list", func(_ context.Context, _ *jobs.Job, in []int) (int, error) { return len(in), nil })
	for name, c := range map[string]struct {
		d      jobs.Definition
		types  string
		object bool
	}{
		"typed":      {printOrder.Definition(), "string integer    integer", true},
		"one value":  {list.Definition(), "", false},
		"positional": {jobs.Definition{Args: []jobs.Arg{{Type: jobs.ArgNumber}, {Type: jobs.ArgString}}}, "number string", false},
	} {
		types, object := c.d.ArgTypes()
		var text []string
		for _, of := range types {
			text = append(text, string(of))
		}
		if got := strings.Join(text, " "); got != c.types || object != c.object {
			t.Errorf("%s: %q, %v", name, got, object)
		}
	}
}

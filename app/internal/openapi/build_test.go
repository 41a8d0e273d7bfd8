package openapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/server"
)

type inner struct {
	Name string `json:"name"`
}

type sample struct {
	inner
	ID       string            `json:"id"`
	Count    uint32            `json:"count"`
	Ended    *time.Time        `json:"ended"`
	Next     string            `json:"next,omitempty"`
	Any      json.RawMessage   `json:"any"`
	Inners   []*inner          `json:"inners"`
	Words    map[string]string `json:"words"`
	Internal string            `json:"-"`
}

// described has a description for each member of a sample.
func described() Type {
	t := Type{Name: "Sample", Go: reflect.TypeFor[sample](), Fields: map[string]Schema{}}
	for _, name := range []string{"name", "id", "count", "ended", "next", "any", "inners", "words"} {
		t.Fields[name] = Schema{Description: "The " + name + "."}
	}
	return t
}

var innerType = Type{Name: "Inner", Go: reflect.TypeFor[inner](), Fields: map[string]Schema{"name": {Description: "The name."}}}

// A schema says of each member what encoding/json does with it.
func TestSchemaOfType(t *testing.T) {
	all, err := schemas([]Type{described(), innerType})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(all["Sample"])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"object","properties":{` +
		`"any":{"description":"The any."},` +
		`"count":{"description":"The count.","type":"integer","minimum":0},` +
		`"ended":{"description":"The ended.","type":["string","null"],"format":"date-time"},` +
		`"id":{"description":"The id.","type":"string"},` +
		`"inners":{"description":"The inners.","type":"array","items":{"$ref":"#/components/schemas/Inner"}},` +
		`"name":{"description":"The name.","type":"string"},` +
		`"next":{"description":"The next.","type":"string"},` +
		`"words":{"description":"The words.","type":"object","additionalProperties":{"type":"string"}}},` +
		`"required":["name","id","count","ended","any","inners","words"]}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}

// Types and their descriptions must have the same members.
func TestSchemaFaults(t *testing.T) {
	for want, change := range map[string]func(*Type){
		"the member id has no description": func(t *Type) { delete(t.Fields, "id") },
		"there is no member other":         func(t *Type) { t.Fields["other"] = Schema{} },
	} {
		broken := described()
		change(&broken)
		if _, err := schemas([]Type{broken, innerType}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := schemas([]Type{described()}); err == nil || !strings.Contains(err.Error(), "inner has no schema") {
		t.Errorf("a struct without a name among the components: %v", err)
	}
}

// Templates that differ in the names of parameters only are one path.
func TestPathsThatAreOne(t *testing.T) {
	platform := Group{
		Name: "tasks", Prefix: "/-", Routes: []server.Route{{Method: "GET", Path: "/tasks/{id}"}},
		Operations: map[string][]Operation{"GET /tasks/{id}": {{ID: "getTask", Access: Read}}},
	}
	own := Own("shop", []server.Route{
		{Method: "PUT", Path: "/-/tasks/{name}"}, {Method: "GET", Path: "/tasks/{n:[0-9]+}"},
		{Method: "GET", Path: "/"}, {Method: "POST", Path: "/a-b"}, {Method: "POST", Path: "/a_b"}, {Method: "POST", Path: "/a/b/2"}, {Method: "PURGE", Path: "/"},
	}, []Group{platform})
	doc, err := Build(Options{Token: true, Cookie: "c"}, []Group{platform, own})
	if err != nil {
		t.Fatal(err)
	}
	shared := doc.Paths["/-/tasks/{id}"]
	if shared["get"].ID != "getTask" || shared["put"].ID != "put_tasks__name" || shared["put"].Parameters[0].Name != "id" {
		t.Errorf("%+v", shared)
	}
	if op := doc.Paths["/tasks/{n}"]["get"]; !strings.Contains(op.Parameters[0].Description, "[0-9]+") || op.Security != nil {
		t.Errorf("%+v", op)
	}
	ids := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range item {
			ids[op.ID] = true
		}
	}
	if len(doc.Paths) != 6 || len(ids) != 7 {
		t.Errorf("%d paths, operations %v", len(doc.Paths), ids)
	}
}

// The tag of an application is its own, also if a group of the platform has its name.
func TestTagOfApplication(t *testing.T) {
	platform := []Group{{Name: "tasks"}}
	for name, want := range map[string]string{"shop": "shop", "tasks": "tasks (application)"} {
		if got := Own(name, nil, platform).Name; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Only the address differs between the documents of a server, and each has its ETag.
func TestEncoded(t *testing.T) {
	doc, err := Build(Options{Title: serverMark}, nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tags := []string{}
	for _, address := range []string{"/", "/gale", `/"<`} {
		body, etag := encoded.At(address)
		var got Document
		if err := json.Unmarshal(body, &got); err != nil || got.Servers[0].URL != address || got.Info.Title != serverMark {
			t.Errorf("%s: %s, %v", address, body, err)
		}
		if slices.Contains(tags, etag) {
			t.Errorf("%s has the ETag of another address", address)
		}
		tags = append(tags, etag)
	}
}

package jobs

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/galeserver/gale/internal/typed"
)

// input is what a typed task takes: an object, one value, or nothing.
type input struct {
	typ    reflect.Type
	fields typed.Fields // of an object
	one    bool         // a value that is not an object
}

// inputName is what the one value of an input is called that is no object.
const inputName = "input"

func inputOf(t reflect.Type) (*input, error) {
	for t.Kind() == reflect.Pointer && typed.IsObject(t.Elem()) {
		t = t.Elem()
	}
	if !typed.IsObject(t) {
		return &input{typ: t, one: true}, supported(t, nil)
	}
	fields, err := typed.FieldsOf(t)
	if err != nil {
		return nil, err
	}
	return &input{typ: t, fields: fields}, supported(t, nil)
}

// accept returns the stored form of arguments: [{…}], [value] or []. With results,
// which follow them and may be anything, it checks what is given only. Unknown
// members are an error, unless stored is true: then they are those of another
// version of the program, and are dropped.
func (in *input) accept(given []json.RawMessage, kwargs typed.Members, results int, stored bool) ([]json.RawMessage, []string) {
	if in.one {
		return in.acceptOne(given, kwargs, results)
	}
	object, wrong := in.object(given, kwargs)
	known := in.fields.KnownNames()
	for _, m := range object {
		if at := in.fields.Index(m.Name); at >= 0 {
			wrong = append(wrong, typed.Check(m.Name, in.fields[at].Type, m.Value, stored)...)
		} else if !stored {
			wrong = append(wrong, m.Name+" is unknown"+known)
		}
	}
	if results > 0 {
		if len(object) == 0 {
			return []json.RawMessage{}, wrong
		}
		return []json.RawMessage{object.JSON()}, wrong
	}
	for _, f := range in.fields {
		switch {
		case object.Has(f.Name):
		case f.Default != nil:
			object = append(object, typed.Member{Name: f.Name, Value: f.Default})
		case !f.Optional:
			wrong = append(wrong, f.Name+" is missing")
		}
	}
	if len(in.fields) == 0 {
		return []json.RawMessage{}, wrong
	}
	return []json.RawMessage{object.JSON()}, wrong
}

func (in *input) acceptOne(given []json.RawMessage, kwargs typed.Members, results int) (args []json.RawMessage, wrong []string) {
	for _, m := range kwargs {
		switch {
		case m.Name != inputName:
			wrong = append(wrong, m.Name+" is unknown, there is: "+inputName)
		case len(given) > 0:
			wrong = append(wrong, m.Name+" is given twice")
		default:
			given = append(given, m.Value)
		}
	}
	if n := len(given) + results; n > 1 {
		wrong = append(wrong, fmt.Sprintf("it takes at most 1, got %d", n))
	} else if n == 0 {
		wrong = append(wrong, inputName+" is missing")
	}
	if len(given) > 0 {
		wrong = append(wrong, typed.Check(inputName, in.typ, given[0], false)...)
	}
	return given, wrong
}

// object puts together what is given: objects, values in the order of the fields
// that are not given yet, keywords.
func (in *input) object(given []json.RawMessage, kwargs typed.Members) (object typed.Members, wrong []string) {
	has := map[string]bool{}
	add := func(m typed.Member) {
		if has[m.Name] {
			wrong = append(wrong, m.Name+" is given twice")
			return
		}
		has[m.Name] = true
		object = append(object, m)
	}
	next := 0
	for i, value := range given {
		if more, err := typed.MembersOf(value); err == nil && (i == 0 || i == len(given)-1) && in.takes(more, len(given)) {
			for _, m := range more {
				add(m)
			}
			continue
		}
		for next < len(in.fields) && has[in.fields[next].Name] {
			next++
		}
		if next == len(in.fields) {
			return object, append(wrong, fmt.Sprintf("it takes at most %d, got %d", len(in.fields), len(given)+len(kwargs)))
		}
		add(typed.Member{Name: in.fields[next].Name, Value: value})
	}
	for _, m := range kwargs {
		add(m)
	}
	return object, wrong
}

// takes reports whether an object among several arguments is the input, and not
// the value of a field: alone it always is, beside others if all its members are
// fields.
func (in *input) takes(object typed.Members, arguments int) bool {
	if arguments == 1 {
		return true
	}
	for _, m := range object {
		if in.fields.Index(m.Name) < 0 {
			return false
		}
	}
	return len(object) > 0
}

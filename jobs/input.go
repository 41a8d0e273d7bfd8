package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// input is what a typed task takes: an object, one value, or nothing.
type input struct {
	typ    reflect.Type
	fields []field // of an object
	one    bool    // a value that is not an object
}

// inputName is what the one value of an input is called that is no object.
const inputName = "input"

func inputOf(t reflect.Type) (*input, error) {
	for t.Kind() == reflect.Pointer && isObject(t.Elem()) {
		t = t.Elem()
	}
	if !isObject(t) {
		return &input{typ: t, one: true}, supported(t, nil)
	}
	fields, err := fieldsOf(t)
	if err != nil {
		return nil, err
	}
	return &input{typ: t, fields: fields}, supported(t, nil)
}

// accept returns the stored form of arguments: [{…}], [value] or []. With results,
// which follow them and may be anything, it checks what is given only. Unknown
// members are an error, unless stored is true: then they are those of another
// version of the program, and are dropped.
func (in *input) accept(given []json.RawMessage, kwargs members, results int, stored bool) ([]json.RawMessage, []string) {
	if in.one {
		return in.acceptOne(given, kwargs, results)
	}
	object, wrong := in.object(given, kwargs)
	for _, m := range object {
		if at := in.index(m.name); at >= 0 {
			wrong = append(wrong, check(m.name, in.fields[at].typ, m.value, stored)...)
		} else if !stored {
			wrong = append(wrong, m.name+" is unknown"+in.known())
		}
	}
	if results > 0 {
		if len(object) == 0 {
			return []json.RawMessage{}, wrong
		}
		return []json.RawMessage{object.json()}, wrong
	}
	for _, f := range in.fields {
		switch {
		case object.has(f.name, len(object)):
		case f.preset != nil:
			object = append(object, member{f.name, f.preset})
		case !f.optional:
			wrong = append(wrong, f.name+" is missing")
		}
	}
	if len(in.fields) == 0 {
		return []json.RawMessage{}, wrong
	}
	return []json.RawMessage{object.json()}, wrong
}

func (in *input) acceptOne(given []json.RawMessage, kwargs members, results int) (args []json.RawMessage, wrong []string) {
	for _, m := range kwargs {
		switch {
		case m.name != inputName:
			wrong = append(wrong, m.name+" is unknown, there is: "+inputName)
		case len(given) > 0:
			wrong = append(wrong, m.name+" is given twice")
		default:
			given = append(given, m.value)
		}
	}
	if n := len(given) + results; n > 1 {
		wrong = append(wrong, fmt.Sprintf("it takes at most 1, got %d", n))
	} else if n == 0 {
		wrong = append(wrong, inputName+" is missing")
	}
	if len(given) > 0 {
		wrong = append(wrong, check(inputName, in.typ, given[0], false)...)
	}
	return given, wrong
}

// object puts together what is given: objects, values in the order of the fields
// that are not given yet, keywords.
func (in *input) object(given []json.RawMessage, kwargs members) (object members, wrong []string) {
	add := func(m member) {
		if object.has(m.name, len(object)) {
			wrong = append(wrong, m.name+" is given twice")
			return
		}
		object = append(object, m)
	}
	next := 0
	for i, value := range given {
		if more, err := membersOf(value); err == nil && (i == 0 || i == len(given)-1) && in.takes(more, len(given)) {
			for _, m := range more {
				add(m)
			}
			continue
		}
		for next < len(in.fields) && object.has(in.fields[next].name, len(object)) {
			next++
		}
		if next == len(in.fields) {
			return object, append(wrong, fmt.Sprintf("it takes at most %d, got %d", len(in.fields), len(given)+len(kwargs)))
		}
		add(member{in.fields[next].name, value})
	}
	for _, m := range kwargs {
		add(m)
	}
	return object, wrong
}

// takes reports whether an object among several arguments is the input, and not
// the value of a field: alone it always is, beside others if all its members are
// fields.
func (in *input) takes(object members, arguments int) bool {
	if arguments == 1 {
		return true
	}
	for _, m := range object {
		if in.index(m.name) < 0 {
			return false
		}
	}
	return len(object) > 0
}

func (in *input) index(name string) int {
	for i, f := range in.fields {
		if f.name == name {
			return i
		}
	}
	return -1
}

func (in *input) known() string {
	if len(in.fields) == 0 {
		return ": it takes nothing"
	}
	names := make([]string, len(in.fields))
	for i, f := range in.fields {
		names[i] = f.name
	}
	return ", there are: " + strings.Join(names, ", ")
}

// check says what is wrong with a value of a type, by the path of each fault.
// lenient passes over unknown members.
func check(path string, t reflect.Type, value json.RawMessage, lenient bool) (wrong []string) {
	null := string(bytes.TrimSpace(value)) == "null"
	switch kind := t.Kind(); {
	case null && !custom(t) && kind != reflect.Pointer && kind != reflect.Slice && kind != reflect.Map && kind != reflect.Interface:
		return []string{path + " must not be null"}
	case null:
		return nil
	case kind == reflect.Pointer:
		return check(path, t.Elem(), value, lenient)
	case isObject(t):
		return checkObject(path, t, value, lenient)
	case custom(t) || kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
	case kind == reflect.Slice || kind == reflect.Array:
		var all []json.RawMessage
		if json.Unmarshal(value, &all) == nil && (kind == reflect.Slice || len(all) == t.Len()) {
			for i, v := range all {
				wrong = append(wrong, check(path+"["+strconv.Itoa(i)+"]", t.Elem(), v, lenient)...)
			}
			return wrong
		}
		if kind == reflect.Array {
			return []string{fmt.Sprintf("%s must be an array of %d", path, t.Len())}
		}
	case kind == reflect.Map:
		if all, err := membersOf(value); err == nil {
			for _, m := range all {
				wrong = append(wrong, check(path+"."+m.name, t.Elem(), m.value, lenient)...)
			}
			if len(wrong) > 0 {
				return wrong
			}
		}
	}
	if err := json.Unmarshal(value, reflect.New(t).Interface()); err != nil {
		return []string{path + " " + misfit(err).Error()}
	}
	return nil
}

func checkObject(path string, t reflect.Type, value json.RawMessage, lenient bool) (wrong []string) {
	object, err := membersOf(value)
	if err != nil {
		return []string{path + " must be an object"}
	}
	fields, err := fieldsOf(t)
	if err != nil {
		return []string{path + ": " + err.Error()}
	}
	in := &input{typ: t, fields: fields}
	for i, m := range object {
		at := in.index(m.name)
		switch {
		case object.has(m.name, i):
			wrong = append(wrong, path+"."+m.name+" is given twice")
		case at >= 0:
			wrong = append(wrong, check(path+"."+m.name, fields[at].typ, m.value, lenient)...)
		case !lenient:
			wrong = append(wrong, fmt.Sprintf("%s.%s is unknown%s", path, m.name, in.known()))
		}
	}
	for _, f := range fields {
		if !f.optional && f.preset == nil && !object.has(f.name, len(object)) {
			wrong = append(wrong, path+"."+f.name+" is missing")
		}
	}
	return wrong
}

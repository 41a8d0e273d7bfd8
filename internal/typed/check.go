package typed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Fields are the fields of one struct, in order.
type Fields []Field

// Index returns the index of the field with a name, or -1.
func (all Fields) Index(name string) int {
	for i, f := range all {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// KnownNames returns the text after "x is unknown" in an error: the names of the fields.
func (all Fields) KnownNames() string {
	if len(all) == 0 {
		return "; there are none"
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	return "; there are: " + strings.Join(names, ", ")
}

// Check compares a JSON value with a type, and returns all problems. path is the path of
// value itself. If lenient is set, unknown members are not a problem.
func Check(path string, t reflect.Type, value json.RawMessage, lenient bool) (problems []Problem) {
	null := string(bytes.TrimSpace(value)) == "null"
	switch kind := t.Kind(); {
	case null && !HasUnmarshaler(t) && kind != reflect.Pointer && kind != reflect.Slice && kind != reflect.Map && kind != reflect.Interface:
		return []Problem{{path, "must not be null"}}
	case null:
		return nil
	case kind == reflect.Pointer:
		return Check(path, t.Elem(), value, lenient)
	case IsObject(t):
		return checkObject(path, t, value, lenient)
	case HasUnmarshaler(t) || kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
	case kind == reflect.Slice || kind == reflect.Array:
		var all []json.RawMessage
		if json.Unmarshal(value, &all) == nil && (kind == reflect.Slice || len(all) == t.Len()) {
			for i, v := range all {
				problems = append(problems, Check(path+"["+strconv.Itoa(i)+"]", t.Elem(), v, lenient)...)
			}
			return problems
		}
		if kind == reflect.Array {
			return []Problem{{path, fmt.Sprintf("must be an array of %d", t.Len())}}
		}
	case kind == reflect.Map:
		if all, err := MembersOf(value); err == nil {
			for _, m := range all {
				problems = append(problems, Check(path+"."+m.Name, t.Elem(), m.Value, lenient)...)
			}
			if len(problems) > 0 {
				return problems
			}
		}
	}
	if err := json.Unmarshal(value, reflect.New(t).Interface()); err != nil {
		return []Problem{{path, DecodeError(err).Error()}}
	}
	return nil
}

func checkObject(path string, t reflect.Type, value json.RawMessage, lenient bool) []Problem {
	object, err := MembersOf(value)
	if err != nil {
		return []Problem{{path, "must be an object"}}
	}
	fields, err := FieldsOf(t)
	if err != nil {
		return []Problem{{path, "cannot be read: " + err.Error()}}
	}
	return CheckMembers(path+".", fields, object, lenient)
}

// CheckMembers is Check for the members of an object. prefix is the start of their paths.
func CheckMembers(prefix string, fields Fields, object Members, lenient bool) (problems []Problem) {
	known := fields.KnownNames()
	seen := make(map[string]bool, len(object)) // a map, because a client may send many members
	for _, m := range object {
		at := fields.Index(m.Name)
		switch {
		case seen[m.Name]:
			problems = append(problems, Problem{prefix + m.Name, "is given twice"})
		case at >= 0:
			problems = append(problems, Check(prefix+m.Name, fields[at].Type, m.Value, lenient)...)
		case !lenient:
			problems = append(problems, Problem{prefix + m.Name, "is unknown" + known})
		}
		seen[m.Name] = true
	}
	for _, f := range fields {
		if !f.Optional && f.Default == nil && !seen[f.Name] {
			problems = append(problems, Problem{prefix + f.Name, "is missing"})
		}
	}
	return problems
}

// DecodeError converts an error of json.Unmarshal to one for users, without names of Go
// types. Its text is the rest of a sentence after the path of the value, such as "must be a
// string, not number".
func DecodeError(err error) error {
	typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return fmt.Errorf("cannot be read: %w", err)
	}
	want := "of another type"
	switch kind := typeErr.Type.Kind(); {
	case kind == reflect.Slice || kind == reflect.Array:
		want = "an array"
	case kind == reflect.Struct || kind == reflect.Map:
		want = "an object"
	case kind >= reflect.Int && kind <= reflect.Int64:
		limit := int64(math.MaxInt64) >> (64 - typeErr.Type.Bits())
		want = fmt.Sprintf("an integer from %d to %d", -limit-1, limit)
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		want = fmt.Sprintf("an integer from 0 to %d", uint64(math.MaxUint64)>>(64-typeErr.Type.Bits()))
	case kind == reflect.String:
		want = "a string"
	case kind == reflect.Bool:
		want = "a boolean"
	case kind == reflect.Float32 || kind == reflect.Float64:
		want = "a number"
	}
	if typeErr.Field != "" {
		return fmt.Errorf("has a wrong field: %s must be %s, not %s", typeErr.Field, want, typeErr.Value)
	}
	return fmt.Errorf("must be %s, not %s", want, typeErr.Value)
}

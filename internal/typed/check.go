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

// Fields are the members of an object, in the order of the struct's fields.
type Fields []Field

// Index is the place of the field of that name, or -1.
func (all Fields) Index(name string) int {
	for i, f := range all {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// Names continues the sentence "x is unknown" by what is known.
func (all Fields) Names() string {
	if len(all) == 0 {
		return ": it takes nothing"
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	return ", there are: " + strings.Join(names, ", ")
}

// Check says what is wrong with a value of a type, by the path of each fault.
// lenient passes over unknown members.
func Check(path string, t reflect.Type, value json.RawMessage, lenient bool) (wrong []string) {
	null := string(bytes.TrimSpace(value)) == "null"
	switch kind := t.Kind(); {
	case null && !Custom(t) && kind != reflect.Pointer && kind != reflect.Slice && kind != reflect.Map && kind != reflect.Interface:
		return []string{path + " must not be null"}
	case null:
		return nil
	case kind == reflect.Pointer:
		return Check(path, t.Elem(), value, lenient)
	case IsObject(t):
		return checkObject(path, t, value, lenient)
	case Custom(t) || kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
	case kind == reflect.Slice || kind == reflect.Array:
		var all []json.RawMessage
		if json.Unmarshal(value, &all) == nil && (kind == reflect.Slice || len(all) == t.Len()) {
			for i, v := range all {
				wrong = append(wrong, Check(path+"["+strconv.Itoa(i)+"]", t.Elem(), v, lenient)...)
			}
			return wrong
		}
		if kind == reflect.Array {
			return []string{fmt.Sprintf("%s must be an array of %d", path, t.Len())}
		}
	case kind == reflect.Map:
		if all, err := MembersOf(value); err == nil {
			for _, m := range all {
				wrong = append(wrong, Check(path+"."+m.Name, t.Elem(), m.Value, lenient)...)
			}
			if len(wrong) > 0 {
				return wrong
			}
		}
	}
	if err := json.Unmarshal(value, reflect.New(t).Interface()); err != nil {
		return []string{path + " " + Misfit(err).Error()}
	}
	return nil
}

func checkObject(path string, t reflect.Type, value json.RawMessage, lenient bool) []string {
	object, err := MembersOf(value)
	if err != nil {
		return []string{path + " must be an object"}
	}
	fields, err := FieldsOf(t)
	if err != nil {
		return []string{path + ": " + err.Error()}
	}
	return CheckMembers(path+".", fields, object, lenient)
}

// CheckMembers is Check for the members of an object, whose names follow prefix.
func CheckMembers(prefix string, fields Fields, object Members, lenient bool) (wrong []string) {
	known := fields.Names()
	seen := make(map[string]bool, len(object)) // a client sends as many as it likes
	for _, m := range object {
		at := fields.Index(m.Name)
		switch {
		case seen[m.Name]:
			wrong = append(wrong, prefix+m.Name+" is given twice")
		case at >= 0:
			wrong = append(wrong, Check(prefix+m.Name, fields[at].Type, m.Value, lenient)...)
		case !lenient:
			wrong = append(wrong, prefix+m.Name+" is unknown"+known)
		}
		seen[m.Name] = true
	}
	for _, f := range fields {
		if !f.Optional && f.Preset == nil && !seen[f.Name] {
			wrong = append(wrong, prefix+f.Name+" is missing")
		}
	}
	return wrong
}

// maxFaults is how many faults a text names.
const maxFaults = 10

// Join is what is wrong as one text: the first faults, and how many more there are.
func Join(wrong []string) string {
	named := wrong[:min(len(wrong), maxFaults)]
	text := strings.Join(named, "; ")
	if more := len(wrong) - len(named); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Misfit words why a value could not be stored, without the names of Go's types.
func Misfit(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return fmt.Errorf("cannot be read: %w", err)
	}
	want := "of another type"
	switch kind := wrong.Type.Kind(); {
	case kind == reflect.Slice || kind == reflect.Array:
		want = "an array"
	case kind == reflect.Struct || kind == reflect.Map:
		want = "an object"
	case kind >= reflect.Int && kind <= reflect.Int64:
		limit := int64(math.MaxInt64) >> (64 - wrong.Type.Bits())
		want = fmt.Sprintf("an integer within %d and %d", -limit-1, limit)
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		want = fmt.Sprintf("an integer within 0 and %d", uint64(math.MaxUint64)>>(64-wrong.Type.Bits()))
	case kind == reflect.String:
		want = "a string"
	case kind == reflect.Bool:
		want = "a boolean"
	case kind == reflect.Float32 || kind == reflect.Float64:
		want = "a number"
	}
	if wrong.Field != "" {
		return fmt.Errorf("has a wrong field: %s must be %s, not %s", wrong.Field, want, wrong.Value)
	}
	return fmt.Errorf("must be %s, not %s", want, wrong.Value)
}

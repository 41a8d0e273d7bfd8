package typed

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Check returns the values in v, a pointer to a struct, that break a rule. The error is for
// a tag that cannot be used.
func (r *Rules) Check(v any) ([]Problem, error) {
	broken, err := r.check(v)
	problems := make([]Problem, 0, len(broken))
	for _, b := range broken {
		problems = append(problems, Problem{r.path(b.Namespace()), phrase(b)})
	}
	return problems, err
}

func (r *Rules) check(v any) (validator.ValidationErrors, error) {
	err := protect(func() error { return library().Struct(v) })
	broken, ok := errors.AsType[validator.ValidationErrors](err)
	if err != nil && !ok {
		return nil, fmt.Errorf("validate tags of %v: %w", r.root, err)
	}
	return broken, nil
}

// CheckOthers returns the rules that the members of an object break, if some of them have
// problems of another kind, and thus no value. It leaves out values with such a problem,
// and rules that depend on one.
func (r *Rules) CheckOthers(members Members, problems []Problem) ([]Problem, error) {
	faulty := make(map[string]bool, len(problems))
	for _, p := range problems {
		for path := range ancestors(p.Path) {
			faulty[path] = faulty[path] || path == p.Path
		}
	}
	v := reflect.New(r.root)
	for _, m := range members {
		if r.fields[r.root].Index(m.Name) < 0 {
			continue
		}
		err := json.Unmarshal(Members{m}.JSON(), v.Interface())
		if _, onlyType := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !onlyType {
			faulty[m.Name] = true // decoding has stopped inside the member
		}
	}
	broken, err := r.check(v.Interface())
	var more []Problem
	for _, b := range broken {
		path := r.path(b.Namespace())
		_, inner := faulty[path] // it, or a value inside it, has a problem
		if inner && !isLength(b) || readsOtherFields(b.Tag()) {
			continue
		}
		skip := false
		for outer := range ancestors(path) {
			skip = skip || faulty[outer]
		}
		if !skip {
			more = append(more, Problem{path, phrase(b)})
		}
	}
	return more, err
}

// ancestors yields a path and the paths of the values around it.
func ancestors(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for at := len(path); at > 0; at = strings.LastIndexAny(path[:at], ".[") {
			if !yield(path[:at]) {
				return
			}
		}
	}
}

// path converts a path of the library, Order.prices[a].copies, to the form of Check,
// prices.a.copies.
func (r *Rules) path(from string) string {
	if name := r.root.Name(); name != "" {
		from = strings.TrimPrefix(from, name+".")
	}
	if !r.maps {
		return from
	}
	return r.convert(r.root, from)
}

// convert converts the path of a value inside one of type t.
func (r *Rules) convert(t reflect.Type, from string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct:
		from = strings.TrimPrefix(from, ".")
		var found Field
		for _, f := range r.fields[t] {
			rest, ok := strings.CutPrefix(from, f.Name)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') && len(f.Name) > len(found.Name) {
				found = f
			}
		}
		if found.Name == "" {
			return from
		}
		return found.Name + r.nested(found.Type, from[len(found.Name):])
	case reflect.Slice, reflect.Array:
		if end := strings.IndexByte(from, ']'); strings.HasPrefix(from, "[") && end > 0 {
			return from[:end+1] + r.nested(t.Elem(), from[end+1:])
		}
	case reflect.Map:
		for end := 1; strings.HasPrefix(from, "[") && end < len(from); end++ {
			if from[end] == ']' && (end+1 == len(from) || from[end+1] == '.' || from[end+1] == '[') {
				return "." + from[1:end] + r.nested(t.Elem(), from[end+1:])
			}
		}
	}
	return from
}

// nested is convert for a value inside another one: the path begins with its separator.
func (r *Rules) nested(t reflect.Type, from string) string {
	rest := r.convert(t, from)
	if rest != "" && rest[0] != '.' && rest[0] != '[' {
		rest = "." + rest
	}
	return rest
}

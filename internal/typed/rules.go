package typed

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// rulesTag is the key of the tags with rules, as package validator reads them.
const rulesTag = "validate"

// Rules are the rules in the validate tags of a struct and of the values inside it, see
// package github.com/go-playground/validator/v10. They are checked on a decoded value.
type Rules struct {
	root   reflect.Type
	fields map[reflect.Type]Fields // fields of root and of the structs inside it
	maps   bool                    // there is a map inside root
}

// library parses tags and checks values. It keeps the parsed tags of each type.
var library = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled(), validator.WithTagNameFuncBlankOmit())
	v.RegisterTagNameFunc(memberName)
	return v
})

// memberName returns the name of the JSON member of a field, or "" for an embedded struct
// whose fields take its place.
func memberName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" && !f.Anonymous {
		return f.Name
	}
	return name
}

// known holds the result of RulesOf for each type.
var known sync.Map // of reflect.Type to func() (*Rules, error)

// RulesOf returns the rules of a type that IsObject reports true for. It returns nil if
// there are none. The error names a tag that cannot be used.
func RulesOf(t reflect.Type) (*Rules, error) {
	find, ok := known.Load(t)
	if !ok {
		find, _ = known.LoadOrStore(t, sync.OnceValues(func() (*Rules, error) { return findRules(t) }))
	}
	return find.(func() (*Rules, error))()
}

func findRules(t reflect.Type) (*Rules, error) {
	if !hasRules(t, map[reflect.Type]bool{}) {
		return nil, nil
	}
	r := &Rules{root: t, fields: map[reflect.Type]Fields{}}
	return r, r.add(t)
}

// hasRules reports whether a struct, or a value inside it, has a validate tag.
func hasRules(t reflect.Type, seen map[reflect.Type]bool) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return hasRules(t.Elem(), seen)
	case reflect.Struct:
	default:
		return false
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	for f := range t.Fields() {
		tag := f.Tag.Get(rulesTag)
		if tag != "-" && checked(f) && (tag != "" || hasRules(f.Type, seen)) {
			return true
		}
	}
	return false
}

// checked reports whether the library looks at a field.
func checked(f reflect.StructField) bool { return f.IsExported() || f.Anonymous }

// add adds the structs in t, and returns an error for each tag that cannot be used.
func (r *Rules) add(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Map:
		r.maps = true
		return r.add(t.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return r.add(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	if _, done := r.fields[t]; done {
		return nil
	}
	fields, err := FieldsOf(t)
	r.fields[t] = fields
	faults := []error{err}
	for f := range t.Fields() {
		tag := f.Tag.Get(rulesTag)
		if tag == "-" || !checked(f) {
			continue
		}
		faults = append(faults, r.add(f.Type))
		if err := checkField(f, tag); err != nil {
			faults = append(faults, fmt.Errorf("field %s of %v: %w", f.Name, t, err))
		}
	}
	return errors.Join(faults...)
}

// checkField returns an error for a tag that the library cannot use, or that a request
// cannot satisfy.
func checkField(f reflect.StructField, tag string) error {
	switch {
	case f.Tag.Get("json") == "-" && (tag != "" || hasRules(f.Type, map[reflect.Type]bool{})):
		return errors.New(`it has rules, but is not in the JSON; add validate:"-"`)
	case tag == "":
		return nil
	}
	if err := checkTag(f.Type, tag); err != nil {
		return fmt.Errorf(`tag validate:"%s": %w`, tag, err)
	}
	preset, ok := f.Tag.Lookup("default")
	if !ok || readsOtherFields(tag) {
		return nil
	}
	text, err := defaultOf(f.Type, preset)
	if err != nil {
		return nil //nolint:nilerr // FieldsOf returns it
	}
	value := reflect.New(f.Type)
	if err := json.Unmarshal(text, value.Interface()); err != nil {
		return err // cannot happen: defaultOf has decoded it
	}
	if _, broken := errors.AsType[validator.ValidationErrors](library().Var(value.Elem().Interface(), tag)); broken {
		return fmt.Errorf(`tag default:"%s" is against its tag validate:"%s"`, preset, tag)
	}
	return nil
}

// protect calls a function of the library, which panics if a tag is invalid.
func protect(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	return do()
}

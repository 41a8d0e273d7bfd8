package jobs

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// field is a member of the object that a typed task takes.
type field struct {
	name     string
	typ      reflect.Type
	optional bool
	preset   json.RawMessage // default tag; nil if there is none
	depth    int             // of embedding
	tagged   bool
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// custom reports whether values of a type read themselves.
func custom(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// isObject reports whether values of a type are objects with known members.
func isObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && !custom(t) }

// fieldsOf returns the members of a struct's object in the order of its fields, by
// the rules of encoding/json: those of embedded structs are in their place, and of
// two with one name the one that is less deep counts.
func fieldsOf(t reflect.Type) ([]field, error) {
	all, err := collect(t, 0, nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(f field) bool {
		return slices.ContainsFunc(all, func(g field) bool { return g.name == f.name && f.hiddenBy(g) })
	}), nil
}

// hiddenBy reports whether another field of the same name takes the place of f.
func (f field) hiddenBy(g field) bool {
	switch {
	case g.depth != f.depth:
		return g.depth < f.depth
	case g.tagged != f.tagged:
		return g.tagged
	}
	return g.typ != f.typ // neither counts
}

func collect(t reflect.Type, depth int, seen []reflect.Type) (all []field, err error) {
	if slices.Contains(seen, t) {
		return nil, nil
	}
	seen = append(seen, t)
	for i := range t.NumField() {
		s := t.Field(i)
		tag, tagged := s.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := s.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
			continue
		case s.Anonymous && name == "" && isObject(inner):
			deeper, err := collect(inner, depth+1, seen)
			if err != nil {
				return nil, err
			}
			all = append(all, deeper...)
			continue
		case !s.IsExported():
			continue
		case slices.Contains(strings.Split(options, ","), "string"):
			return nil, fmt.Errorf("field %s: the option string of json is not supported", s.Name)
		}
		f := field{name: name, typ: s.Type, depth: depth, tagged: tagged && name != ""}
		if name == "" {
			f.name = s.Name
		}
		all = append(all, f)
		last := &all[len(all)-1]
		last.optional = s.Type.Kind() == reflect.Pointer || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if preset, ok := s.Tag.Lookup("default"); ok {
			if last.preset, err = presetOf(s.Type, preset); err != nil {
				return nil, fmt.Errorf("default of field %s: %w", s.Name, err)
			}
		}
	}
	return all, nil
}

// presetOf is a default tag as JSON: a string as it is, anything else is JSON.
func presetOf(t reflect.Type, text string) (json.RawMessage, error) {
	raw := json.RawMessage(text)
	if t.Kind() == reflect.String {
		raw, _ = json.Marshal(text) // a string always can be
	}
	return raw, json.Unmarshal(raw, reflect.New(t).Interface())
}

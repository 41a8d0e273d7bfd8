// Package typed compares JSON with Go types, more strictly than encoding/json does: what
// is unknown, missing, doubled or of another type is said by its path.
package typed

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Field is a member of the object that a struct stands for.
type Field struct {
	Name     string
	Type     reflect.Type
	Optional bool
	Preset   json.RawMessage // default tag; nil if there is none
	depth    int             // of embedding
	tagged   bool
}

// What types that read themselves implement.
var (
	JSONUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	TextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Custom reports whether values of a type read themselves.
func Custom(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(JSONUnmarshaler) || p.Implements(TextUnmarshaler)
}

// IsObject reports whether values of a type are objects with known Members.
func IsObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && !Custom(t) }

// FieldsOf returns the Members of a struct's object in the order of its fields, by
// the rules of encoding/json: those of embedded structs are in their place, and of
// two with one name the one that is less deep counts.
func FieldsOf(t reflect.Type) ([]Field, error) {
	all, err := collect(t, 0, nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(f Field) bool {
		return slices.ContainsFunc(all, func(g Field) bool { return g.Name == f.Name && f.hiddenBy(g) })
	}), nil
}

// hiddenBy reports whether another field of the same name takes the place of f.
func (f Field) hiddenBy(g Field) bool {
	switch {
	case g.depth != f.depth:
		return g.depth < f.depth
	case g.tagged != f.tagged:
		return g.tagged
	}
	return g.Type != f.Type // neither counts
}

func collect(t reflect.Type, depth int, seen []reflect.Type) (all []Field, err error) {
	if slices.Contains(seen, t) {
		return nil, nil
	}
	seen = append(seen, t)
	for s := range t.Fields() {
		tag, tagged := s.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		inner := s.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
			continue
		case s.Anonymous && name == "" && IsObject(inner):
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
		f := Field{Name: name, Type: s.Type, depth: depth, tagged: tagged && name != ""}
		if name == "" {
			f.Name = s.Name
		}
		all = append(all, f)
		last := &all[len(all)-1]
		last.Optional = s.Type.Kind() == reflect.Pointer || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if preset, ok := s.Tag.Lookup("default"); ok {
			if last.Preset, err = presetOf(s.Type, preset); err != nil {
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

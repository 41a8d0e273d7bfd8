// Package typed checks JSON against Go types. It is stricter than encoding/json: it finds
// members that are unknown, missing or duplicate, and reports all problems with their
// paths.
package typed

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Field describes a member of the JSON object of a struct.
type Field struct {
	Name     string          // name of the member
	Type     reflect.Type    // type of its value
	Optional bool            // whether the member may be missing: the field is a pointer, or tagged omitempty or omitzero
	Default  json.RawMessage // value of the default tag; nil: none
	Rules    string          // rules of the validate tag; see RulesOf
	depth    int             // depth of embedding
	tagged   bool            // the name is from the json tag
}

// Interfaces of types that decode themselves.
var (
	JSONUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	TextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// HasUnmarshaler reports whether a type decodes itself, by one of these interfaces.
func HasUnmarshaler(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(JSONUnmarshaler) || p.Implements(TextUnmarshaler)
}

// IsObject reports whether values of a type are JSON objects with known members.
func IsObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && !HasUnmarshaler(t) }

// FieldsOf returns the fields of a struct, by the rules of encoding/json. The fields of an
// embedded struct replace it. If several fields have the same name, the field with the
// least depth of embedding is used; at the same depth, the field that has its name from a
// json tag. If several fields are left, all of them are ignored. The error says which field
// has an invalid tag.
func FieldsOf(t reflect.Type) ([]Field, error) {
	all, err := collect(t, 0, nil)
	if err != nil {
		return nil, err
	}
	var visible []Field
	for i, f := range all {
		hidden := false
		for j, g := range all {
			hidden = hidden || j != i && g.Name == f.Name && f.hiddenBy(g)
		}
		if !hidden {
			visible = append(visible, f)
		}
	}
	return visible, nil
}

// hiddenBy reports whether another field of the same name hides f.
func (f Field) hiddenBy(other Field) bool {
	if other.depth != f.depth {
		return other.depth < f.depth
	}
	return other.tagged || !f.tagged // if both are tagged, or neither is, each hides the other
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
		f := Field{Name: name, Type: s.Type, Rules: s.Tag.Get(rulesTag), depth: depth, tagged: tagged && name != ""}
		if name == "" {
			f.Name = s.Name
		}
		all = append(all, f)
		last := &all[len(all)-1]
		last.Optional = s.Type.Kind() == reflect.Pointer || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if preset, ok := s.Tag.Lookup("default"); ok {
			if last.Default, err = defaultOf(s.Type, preset); err != nil {
				return nil, fmt.Errorf("default of field %s: %w", s.Name, err)
			}
		}
	}
	return all, nil
}

// defaultOf returns the value of a default tag as JSON. The text of the tag is a string if
// the type is one, otherwise JSON.
func defaultOf(t reflect.Type, text string) (json.RawMessage, error) {
	raw := json.RawMessage(text)
	if t.Kind() == reflect.String {
		raw, _ = json.Marshal(text) // never fails for a string
	}
	return raw, json.Unmarshal(raw, reflect.New(t).Interface())
}

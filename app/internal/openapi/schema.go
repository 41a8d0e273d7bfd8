package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/galeserver/gale/internal/typed"
)

// Type is a named schema among the components.
type Type struct {
	Name        string
	Description string
	// Go is the type whose JSON encoding the schema describes; nil if Schema is set.
	Go reflect.Type
	// Fields complete the schemas of the members of Go. Each member must have one. A
	// field that is set there replaces the one derived from the Go type.
	Fields map[string]Schema
	// Schema is a schema without a Go type.
	Schema *Schema
}

// Ref returns a reference to a Type by its name.
func Ref(name string) *Schema { return &Schema{Ref: "#/components/schemas/" + name} }

// Text returns the schema of a string.
func Text() *Schema { return &Schema{Type: "string"} }

// Within returns the schema of an integer from least to most.
func Within(least, most int) *Schema {
	return &Schema{Type: "integer", Minimum: &least, Maximum: &most}
}

// Words returns the schema of a string that is one of words.
func Words[S ~string](words ...S) *Schema {
	s := Text()
	for _, word := range words {
		s.Enum = append(s.Enum, string(word))
	}
	return s
}

// schemas returns the schemas of types by name.
func schemas(types []Type) (map[string]*Schema, error) {
	d := describer{}
	for _, t := range types {
		if t.Go != nil {
			d[t.Go] = t.Name
		}
	}
	all := make(map[string]*Schema, len(types))
	for _, t := range types {
		s, err := d.component(t)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", t.Name, err)
		}
		all[t.Name] = s
	}
	return all, nil
}

// describer generates schemas of Go types. It holds the names of the types that are
// components.
type describer map[reflect.Type]string

func (d describer) component(t Type) (*Schema, error) {
	if t.Go == nil {
		s := *t.Schema
		s.Description = t.Description
		return &s, nil
	}
	fields, err := typed.FieldsOf(t.Go)
	if err != nil {
		return nil, err
	}
	always, err := alwaysPresent(t.Go)
	if err != nil {
		return nil, err
	}
	s := &Schema{Type: "object", Description: t.Description, Properties: map[string]*Schema{}}
	for _, f := range fields {
		more, ok := t.Fields[f.Name]
		if !ok {
			return nil, fmt.Errorf("the member %s has no description", f.Name)
		}
		of := &Schema{}
		if more.Type == nil && more.Ref == "" {
			if of, err = d.value(f.Type); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		s.Properties[f.Name] = merge(of, more)
		if always[f.Name] {
			s.Required = append(s.Required, f.Name)
		}
	}
	for name := range t.Fields {
		if s.Properties[name] == nil {
			return nil, fmt.Errorf("there is no member %s", name)
		}
	}
	return s, nil
}

// alwaysPresent returns the members that the JSON encoding of every value of a type has:
// those of the zero value.
func alwaysPresent(t reflect.Type) (map[string]bool, error) {
	text, err := json.Marshal(reflect.Zero(t).Interface())
	if err != nil {
		return nil, err
	}
	members, err := typed.MembersOf(text)
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool, len(members))
	for _, m := range members {
		all[m.Name] = true
	}
	return all, nil
}

// value returns the schema of the JSON encoding of a type.
func (d describer) value(t reflect.Type) (*Schema, error) {
	if name, ok := d[t]; ok {
		return Ref(name), nil
	}
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[time.Time]():
		return &Schema{Type: "string", Format: "date-time"}, nil
	case t == reflect.TypeFor[json.RawMessage]():
		return &Schema{}, nil
	case kind == reflect.Interface:
		return &Schema{}, nil
	case kind == reflect.Pointer:
		return d.nullable(t.Elem())
	case kind == reflect.Slice:
		items, err := d.value(t.Elem())
		return &Schema{Type: "array", Items: items}, err
	case kind == reflect.Map:
		of, err := d.value(t.Elem())
		return &Schema{Type: "object", AdditionalProperties: of}, err
	case kind == reflect.String:
		return Text(), nil
	case kind == reflect.Bool:
		return &Schema{Type: "boolean"}, nil
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		return &Schema{Type: "integer", Minimum: new(int)}, nil
	case kind >= reflect.Int && kind <= reflect.Int64:
		return &Schema{Type: "integer"}, nil
	case kind == reflect.Float32 || kind == reflect.Float64:
		return &Schema{Type: "number"}, nil
	}
	return nil, fmt.Errorf("%v has no schema; add it to the types", t)
}

// nullable returns the schema of a pointer to a type, which may be null. The elements of a
// slice of pointers get it too, although they are never nil.
func (d describer) nullable(t reflect.Type) (*Schema, error) {
	s, err := d.value(t)
	if err != nil {
		return nil, err
	}
	if name, ok := s.Type.(string); ok {
		s.Type = []string{name, "null"}
	}
	return s, nil
}

// merge sets the fields of s that are set in more.
func merge(s *Schema, more Schema) *Schema {
	from, to := reflect.ValueOf(more), reflect.ValueOf(s).Elem()
	for i := range from.NumField() {
		if value := from.Field(i); !value.IsZero() {
			to.Field(i).Set(value)
		}
	}
	return s
}

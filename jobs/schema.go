package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/typed"
)

// Schema describes the arguments of a task, an array by position, in JSON
// Schema (draft 2020-12, https://json-schema.org/draft/2020-12/schema).
type Schema struct {
	Schema string      `json:"$schema"`
	Type   string      `json:"type"`
	Prefix []ArgSchema `json:"prefixItems"`
	Items  bool        `json:"items"` // false: nothing behind Prefix
	Min    int         `json:"minItems"`
	Max    int         `json:"maxItems"`
	// Defs are types that hold themselves.
	Defs map[string]ArgSchema `json:"$defs,omitempty"`
}

// ArgSchema describes one argument, or a value in one.
type ArgSchema struct {
	Title string `json:"title,omitempty"`
	// Type is a name, or several as a list; nil is any.
	Type       any             `json:"type,omitempty"`
	Format     string          `json:"format,omitempty"`
	Encoding   string          `json:"contentEncoding,omitempty"`
	Minimum    *int            `json:"minimum,omitempty"`
	Default    any             `json:"default,omitempty"`
	Ref        string          `json:"$ref,omitempty"`
	Items      *ArgSchema      `json:"items,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"` // in the order of the fields
	Required   []string        `json:"required,omitempty"`
	// Additional describes the members of an object that have no name in
	// Properties; false: there are none.
	Additional any `json:"additionalProperties,omitempty"`
}

// Schema describes what a client accepts as args.
func (d Definition) Schema() Schema {
	s := Schema{Schema: "https://json-schema.org/draft/2020-12/schema", Type: "array", Prefix: []ArgSchema{}, Max: len(d.Args)}
	if d.input != nil {
		if d.input.one || len(d.input.fields) > 0 {
			d := describer{defs: map[string]ArgSchema{}, of: d.input.typ}
			s.Prefix, s.Min, s.Max = append(s.Prefix, d.value(d.of)), 1, 1
			s.Prefix[0].Title = inputName
			s.Defs = d.defs
		}
		return s
	}
	for i, a := range d.Args {
		s.Prefix = append(s.Prefix, ArgSchema{Title: a.Name, Type: a.Type, Default: a.Default})
		if a.Default == nil {
			s.Min = i + 1
		}
	}
	return s
}

// describer makes schemas of types.
type describer struct {
	of      reflect.Type
	defs    map[string]ArgSchema
	under   []reflect.Type // types that are being described
	selfish []reflect.Type // those among them that hold themselves
}

func (d *describer) value(t reflect.Type) ArgSchema {
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[time.Time]():
		return ArgSchema{Type: "string", Format: "date-time"}
	case reflect.PointerTo(t).Implements(typed.JSONUnmarshaler), kind == reflect.Interface:
		return ArgSchema{}
	case reflect.PointerTo(t).Implements(typed.TextUnmarshaler):
		return ArgSchema{Type: "string"}
	case kind == reflect.Pointer:
		return nullable(d.value(t.Elem()))
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return ArgSchema{Type: []string{"string", "null"}, Encoding: "base64"}
	case kind == reflect.Slice, kind == reflect.Array:
		items := d.value(t.Elem())
		s := ArgSchema{Type: "array", Items: &items}
		if kind == reflect.Slice {
			s = nullable(s)
		}
		return s
	case kind == reflect.Map:
		return nullable(ArgSchema{Type: "object", Additional: d.value(t.Elem())})
	case kind == reflect.Struct:
		return d.object(t)
	case kind >= reflect.Uint && kind <= reflect.Uintptr:
		return ArgSchema{Type: "integer", Minimum: new(int)}
	default:
		of, _ := argTypeOf(kind)
		return ArgSchema{Type: string(of)}
	}
}

// nullable lets a value be null, as nil is written.
func nullable(s ArgSchema) ArgSchema {
	if name, ok := s.Type.(string); ok {
		s.Type = []string{name, "null"}
	}
	return s
}

func (d *describer) object(t reflect.Type) ArgSchema {
	ref := ArgSchema{Ref: "#/$defs/" + t.Name()}
	if slices.Contains(d.under, t) {
		d.selfish = append(d.selfish, t)
		return ref
	}
	d.under = append(d.under, t)
	fields, _ := typed.FieldsOf(t) // Define has looked at it
	s := ArgSchema{Type: "object", Additional: false}
	var properties typed.Members
	for _, f := range fields {
		p := d.value(f.Type)
		if f.Default != nil {
			p.Default = f.Default
		}
		text, _ := json.Marshal(p) // it holds JSON only
		properties = append(properties, typed.Member{Name: f.Name, Value: text})
		if !f.Optional && f.Default == nil {
			s.Required = append(s.Required, f.Name)
		}
	}
	s.Properties = properties.JSON()
	d.under = d.under[:len(d.under)-1]
	if slices.Contains(d.selfish, t) {
		d.defs[t.Name()] = s
		return ref
	}
	return s
}

// errType: JSON has nothing for it.
var errType = errors.New("has no form in JSON that a task can take")

// supported returns an error that names a type which a task cannot take.
func supported(t reflect.Type, under []reflect.Type) error {
	if typed.HasUnmarshaler(t) || slices.Contains(under, t) {
		return nil
	}
	under = append(under, t)
	switch kind := t.Kind(); {
	case kind == reflect.Pointer, kind == reflect.Slice, kind == reflect.Array:
		return supported(t.Elem(), under)
	case kind == reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("a map with keys of %v %w", t.Key(), errType)
		}
		return supported(t.Elem(), under)
	case kind == reflect.Struct:
		fields, err := typed.FieldsOf(t)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if err := supported(f.Type, under); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		return nil
	case kind == reflect.Interface && t.NumMethod() == 0:
		return nil
	default:
		if _, ok := argTypeOf(kind); !ok || kind == reflect.Uintptr {
			return fmt.Errorf("%v %w", t, errType)
		}
		return nil
	}
}

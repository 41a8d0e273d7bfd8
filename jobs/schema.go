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

// schema describes the arguments of a task, an array by position.
type schema struct {
	Schema string        `json:"$schema"`
	Type   string        `json:"type"`
	Prefix []valueSchema `json:"prefixItems"`
	Items  bool          `json:"items"` // false: no element after Prefix
	Min    int           `json:"minItems"`
	Max    int           `json:"maxItems"`
	// Defs are the schemas of recursive types.
	Defs map[string]valueSchema `json:"$defs,omitempty"`
}

// valueSchema describes an argument, or a value inside one.
type valueSchema struct {
	Title string `json:"title,omitempty"`
	// Type is a type name or a list of them; nil is any type.
	Type       any             `json:"type,omitempty"`
	Format     string          `json:"format,omitempty"`
	Encoding   string          `json:"contentEncoding,omitempty"`
	Minimum    json.Number     `json:"minimum,omitempty"`
	Default    any             `json:"default,omitempty"`
	Ref        string          `json:"$ref,omitempty"`
	Items      *valueSchema    `json:"items,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"` // in the order of the fields
	Required   []string        `json:"required,omitempty"`
	// Additional is the schema of members that Properties does not name, or false if
	// there can be none.
	Additional any `json:"additionalProperties,omitempty"`
	limits
}

// Schema returns a JSON Schema (draft 2020-12,
// https://json-schema.org/draft/2020-12/schema) of the arguments, an array by position. It
// returns an error if a Default cannot be encoded as JSON. For a task of another program it
// returns the schema that was announced, or {} if there was none.
func (d Definition) Schema() (json.RawMessage, error) {
	if d.foreign != nil {
		if d.foreign.schema == nil {
			return json.RawMessage("{}"), nil
		}
		return d.foreign.text, nil
	}
	text, err := json.Marshal(d.schema())
	if err != nil {
		return nil, fmt.Errorf("encode the schema of task %s: %w", d.Name, err)
	}
	return text, nil
}

func (d Definition) schema() schema {
	s := schema{Schema: "https://json-schema.org/draft/2020-12/schema", Type: "array", Prefix: []valueSchema{}, Max: len(d.Args)}
	if d.input != nil {
		if d.input.single || len(d.input.fields) > 0 {
			b := schemaBuilder{defs: map[string]valueSchema{}, root: d.input.typ}
			s.Prefix, s.Min, s.Max = append(s.Prefix, b.value(b.root)), 1, 1
			s.Prefix[0].Title = inputName
			s.Defs = b.defs
		}
		return s
	}
	for i, a := range d.Args {
		s.Prefix = append(s.Prefix, valueSchema{Title: a.Name, Type: a.Type, Default: a.Default})
		if a.Default == nil {
			s.Min = i + 1
		}
	}
	return s
}

// schemaBuilder makes the schemas of Go types.
type schemaBuilder struct {
	root      reflect.Type
	defs      map[string]valueSchema
	stack     []reflect.Type // types whose schemas are being made, the outermost first
	recursive []reflect.Type // types that occur inside themselves
}

func (d *schemaBuilder) value(t reflect.Type) valueSchema {
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[time.Time]():
		return valueSchema{Type: "string", Format: "date-time"}
	case reflect.PointerTo(t).Implements(typed.JSONUnmarshaler), kind == reflect.Interface:
		return valueSchema{}
	case reflect.PointerTo(t).Implements(typed.TextUnmarshaler):
		return valueSchema{Type: "string"}
	case kind == reflect.Pointer:
		return nullable(d.value(t.Elem()))
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return valueSchema{Type: []string{"string", "null"}, Encoding: "base64"}
	case kind == reflect.Slice, kind == reflect.Array:
		items := d.value(t.Elem())
		s := valueSchema{Type: "array", Items: &items}
		if kind == reflect.Slice {
			s = nullable(s)
		}
		return s
	case kind == reflect.Map:
		return nullable(valueSchema{Type: "object", Additional: d.value(t.Elem())})
	case kind == reflect.Struct:
		return d.object(t)
	case kind >= reflect.Uint && kind <= reflect.Uintptr:
		return valueSchema{Type: "integer", Minimum: "0"}
	default:
		of, _ := argTypeOf(kind)
		return valueSchema{Type: string(of)}
	}
}

// nullable also allows null, the JSON form of nil.
func nullable(s valueSchema) valueSchema {
	if name, ok := s.Type.(string); ok {
		s.Type = []string{name, "null"}
	}
	return s
}

func (d *schemaBuilder) object(t reflect.Type) valueSchema {
	ref := valueSchema{Ref: "#/$defs/" + t.Name()}
	if slices.Contains(d.stack, t) {
		d.recursive = append(d.recursive, t)
		return ref
	}
	d.stack = append(d.stack, t)
	fields, _ := typed.FieldsOf(t) // Define has checked the type
	s := valueSchema{Type: "object", Additional: false}
	var properties typed.Members
	for _, f := range fields {
		p := d.value(f.Type)
		p.addRules(f)
		if f.Default != nil {
			p.Default = f.Default
		}
		text, _ := json.Marshal(p) // cannot fail: it holds nothing but JSON
		properties = append(properties, typed.Member{Name: f.Name, Value: text})
		if !f.Optional && f.Default == nil {
			s.Required = append(s.Required, f.Name)
		}
	}
	s.Properties = properties.JSON()
	d.stack = d.stack[:len(d.stack)-1]
	if slices.Contains(d.recursive, t) {
		d.defs[t.Name()] = s
		return ref
	}
	return s
}

// errType is the error of a type that JSON cannot represent. The name of the type precedes
// it.
var errType = errors.New("cannot be used in the input of a task")

// supported returns an error if t, or a type inside it, cannot be the input of a task.
// outer are the types that contain t.
func supported(t reflect.Type, outer []reflect.Type) error {
	if typed.HasUnmarshaler(t) || slices.Contains(outer, t) {
		return nil
	}
	outer = append(outer, t)
	switch kind := t.Kind(); {
	case kind == reflect.Pointer, kind == reflect.Slice, kind == reflect.Array:
		return supported(t.Elem(), outer)
	case kind == reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("a map with keys of %v %w", t.Key(), errType)
		}
		return supported(t.Elem(), outer)
	case kind == reflect.Struct:
		fields, err := typed.FieldsOf(t)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if err := supported(f.Type, outer); err != nil {
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

// Package jsonschema checks JSON values against the part of JSON Schema (draft 2020-12,
// https://json-schema.org/draft/2020-12/schema) with which the arguments of tasks are
// described. Other keywords, such as format, are annotations and refuse nothing.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Schema is a parsed schema. It may be used from many goroutines.
type Schema struct {
	Title   string
	Default json.RawMessage // nil: none

	// Prefix are the schemas of the first elements of an array, and Items that of all
	// others; nil allows any value.
	Prefix []*Schema
	Items  *Schema
	// Properties are the members of an object in the order of the text. Additional is the
	// schema of all other members; nil allows any value.
	Properties []Property
	Additional *Schema
	Required   []string

	never   bool // the schema false
	types   []string
	enum    []any
	anyOf   []*Schema
	oneOf   []*Schema
	allOf   []*Schema
	pattern *regexp.Regexp
	ref     string
	defs    map[string]*Schema
	limits  limits
	root    *Schema
}

// Property is a member of an object.
type Property struct {
	Name string
	*Schema
}

type limits struct {
	Minimum   *json.Number `json:"minimum"`
	Maximum   *json.Number `json:"maximum"`
	Above     *json.Number `json:"exclusiveMinimum"`
	Below     *json.Number `json:"exclusiveMaximum"`
	MinLength *int         `json:"minLength"`
	MaxLength *int         `json:"maxLength"`
	MinItems  *int         `json:"minItems"`
	MaxItems  *int         `json:"maxItems"`
}

// maxDepth limits the nesting of schemas, and of references that lead to each other.
const maxDepth = 64

// Parse parses a schema. The error says what is wrong with it.
func Parse(text []byte) (*Schema, error) {
	s, err := parse(text, maxDepth)
	if err != nil {
		return nil, err
	}
	s.root = s
	return s, s.link(s)
}

// keywords are the keywords that Parse decodes into something other than limits.
type keywords struct {
	Title      string                     `json:"title"`
	Default    json.RawMessage            `json:"default"`
	Type       json.RawMessage            `json:"type"`
	Enum       []any                      `json:"enum"`
	Const      json.RawMessage            `json:"const"`
	Ref        string                     `json:"$ref"`
	Defs       map[string]json.RawMessage `json:"$defs"`
	Prefix     []json.RawMessage          `json:"prefixItems"`
	Items      json.RawMessage            `json:"items"`
	Properties json.RawMessage            `json:"properties"`
	Additional json.RawMessage            `json:"additionalProperties"`
	Required   []string                   `json:"required"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
	OneOf      []json.RawMessage          `json:"oneOf"`
	AllOf      []json.RawMessage          `json:"allOf"`
	Pattern    string                     `json:"pattern"`
	limits
}

func parse(text []byte, depth int) (*Schema, error) {
	text = bytes.TrimSpace(text)
	switch {
	case depth == 0:
		return nil, errors.New("schema is nested too deeply")
	case string(text) == "true":
		return &Schema{}, nil
	case string(text) == "false":
		return &Schema{never: true}, nil
	case len(text) == 0 || text[0] != '{':
		return nil, errors.New("schema is not a JSON object, true or false")
	}
	var k keywords
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&k); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	s := &Schema{Title: k.Title, Default: k.Default, Required: k.Required, enum: k.Enum, ref: k.Ref, limits: k.limits, defs: map[string]*Schema{}}
	if err := s.setTypes(k.Type); err != nil {
		return nil, err
	}
	if k.Const != nil {
		value, err := decode(k.Const)
		if err != nil {
			return nil, err
		}
		s.enum = []any{value}
	}
	if k.Pattern != "" {
		var err error
		if s.pattern, err = regexp.Compile(k.Pattern); err != nil {
			return nil, fmt.Errorf("schema: pattern: %w", err)
		}
	}
	return s, s.setParts(k, depth-1)
}

func (s *Schema) setTypes(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		s.types = []string{one}
	} else if json.Unmarshal(raw, &s.types) != nil {
		return errors.New("schema: type is neither a name nor a list of names")
	}
	for _, name := range s.types {
		if !slices.Contains([]string{"null", "boolean", "object", "array", "number", "string", "integer"}, name) {
			return fmt.Errorf("schema: %q is not a type", name)
		}
	}
	return nil
}

// setParts parses the schemas inside the schema.
func (s *Schema) setParts(k keywords, depth int) (err error) {
	one := func(raw json.RawMessage) *Schema {
		if raw == nil || err != nil {
			return nil
		}
		var part *Schema
		part, err = parse(raw, depth)
		return part
	}
	list := func(all []json.RawMessage) (parts []*Schema) {
		for _, raw := range all {
			parts = append(parts, one(raw))
		}
		return parts
	}
	s.Prefix, s.anyOf, s.oneOf, s.allOf = list(k.Prefix), list(k.AnyOf), list(k.OneOf), list(k.AllOf)
	s.Items, s.Additional = one(k.Items), one(k.Additional)
	for name, raw := range k.Defs {
		s.defs[name] = one(raw)
	}
	if k.Properties == nil || err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(k.Properties))
	if start, tokenErr := dec.Token(); tokenErr != nil || start != json.Delim('{') {
		return errors.New("schema: properties is not a JSON object")
	}
	for dec.More() && err == nil {
		name, tokenErr := dec.Token()
		var raw json.RawMessage
		if err = errors.Join(tokenErr, dec.Decode(&raw)); err == nil {
			s.Properties = append(s.Properties, Property{name.(string), one(raw)})
		}
	}
	return err
}

// link sets the root of all parts, and checks that their references exist.
func (s *Schema) link(root *Schema) error {
	s.root = root
	if s.ref != "" && s.target() == nil {
		return fmt.Errorf("schema: $ref %q is not #/$defs/NAME of a schema that exists", s.ref)
	}
	for _, part := range s.parts() {
		if err := part.link(root); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schema) parts() (all []*Schema) {
	for _, list := range [][]*Schema{s.Prefix, s.anyOf, s.oneOf, s.allOf, {s.Items, s.Additional}} {
		for _, part := range list {
			if part != nil {
				all = append(all, part)
			}
		}
	}
	for _, p := range s.Properties {
		all = append(all, p.Schema)
	}
	for _, part := range s.defs {
		all = append(all, part)
	}
	return all
}

// target returns the schema to which ref points, or nil.
func (s *Schema) target() *Schema {
	if s.ref == "#" {
		return s.root
	}
	name, _ := strings.CutPrefix(s.ref, "#/$defs/")
	return s.root.defs[name]
}

// Never reports whether the schema is false, which refuses every value.
func (s *Schema) Never() bool { return s.never }

// MinItems returns the smallest length of an array, by default 0.
func (s *Schema) MinItems() int {
	if s.limits.MinItems == nil {
		return 0
	}
	return *s.limits.MinItems
}

// IsArray reports whether the schema allows arrays and nothing else.
func (s *Schema) IsArray() bool { return len(s.types) == 1 && s.types[0] == "array" }

// IsObject reports whether the schema allows objects and nothing else.
func (s *Schema) IsObject() bool { return len(s.types) == 1 && s.types[0] == "object" }

package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check returns what is wrong with a JSON value, one text for each fault. name is the name
// of the value in these texts.
func (s *Schema) Check(name string, value json.RawMessage) []string {
	v, err := decode(value)
	if err != nil {
		return []string{name + " is not valid JSON"}
	}
	return s.check(name, v, level{maxDepth, new(int)})
}

// level limits a check: a schema that refers to itself may have no end.
type level struct {
	depth int
	steps *int // schemas that were checked so far
}

// maxSteps is the largest number of schemas that a check visits.
const maxSteps = 1_000_000

// over reports whether a limit is reached. Then it is reached for the rest of the check.
func (l level) over() bool {
	if *l.steps++; l.depth == 0 {
		*l.steps = maxSteps
	}
	return *l.steps >= maxSteps
}

func (l level) next() level { return level{l.depth - 1, l.steps} }

func decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // float64 would round large integers
	err = dec.Decode(&v)
	if err == nil && dec.More() {
		err = errors.New("more than one value")
	}
	return v, err
}

func (s *Schema) check(name string, v any, l level) (faults []string) {
	switch {
	case l.over():
		return []string{name + " is nested too deeply"}
	case s.never:
		return []string{name + " is not allowed"}
	case len(s.types) > 0 && !slices.ContainsFunc(s.types, func(t string) bool { return isType(v, t) }):
		return []string{name + " must be " + withArticle(s.types)}
	case len(s.enum) > 0 && !slices.ContainsFunc(s.enum, func(e any) bool { return equal(v, e) }):
		return []string{name + " must be one of " + texts(s.enum)}
	}
	if s.ref != "" {
		faults = append(faults, s.target().check(name, v, l.next())...)
	}
	for _, part := range s.allOf {
		faults = append(faults, part.check(name, v, l.next())...)
	}
	if n := matching(s.anyOf, name, v, l); len(s.anyOf) > 0 && n == 0 {
		faults = append(faults, name+" matches none of the allowed forms")
	}
	if n := matching(s.oneOf, name, v, l); len(s.oneOf) > 0 && n != 1 {
		faults = append(faults, fmt.Sprintf("%s matches %d of the allowed forms, not one", name, n))
	}
	switch v := v.(type) {
	case json.Number:
		faults = append(faults, s.limits.checkNumber(name, v)...)
	case string:
		faults = append(faults, between(name, "characters", utf8.RuneCountInString(v), s.limits.MinLength, s.limits.MaxLength)...)
		if s.pattern != nil && !s.pattern.MatchString(v) {
			faults = append(faults, fmt.Sprintf("%s does not match the pattern %s", name, s.pattern))
		}
	case []any:
		faults = append(faults, s.checkArray(name, v, l)...)
	case map[string]any:
		faults = append(faults, s.checkObject(name, v, l)...)
	}
	return faults
}

func matching(all []*Schema, name string, v any, l level) (n int) {
	for _, part := range all {
		if len(part.check(name, v, l.next())) == 0 {
			n++
		}
	}
	return n
}

func (s *Schema) checkArray(name string, v []any, l level) []string {
	faults := between(name, "elements", len(v), s.limits.MinItems, s.limits.MaxItems)
	for i, each := range v {
		of := s.Items
		if i < len(s.Prefix) {
			of = s.Prefix[i]
		}
		if of == nil {
			continue
		}
		place := fmt.Sprintf("%s[%d]", name, i)
		if of.Title != "" {
			place = of.Title
		}
		faults = append(faults, of.check(place, each, l.next())...)
	}
	return faults
}

func (s *Schema) checkObject(name string, v map[string]any, l level) (faults []string) {
	left := len(v)
	for _, p := range s.Properties {
		if each, ok := v[p.Name]; ok {
			left--
			faults = append(faults, p.check(name+"."+p.Name, each, l.next())...)
		}
	}
	for _, required := range s.Required {
		if _, ok := v[required]; !ok {
			faults = append(faults, name+"."+required+" is missing")
		}
	}
	if s.Additional == nil || left == 0 {
		return faults
	}
	var others []string
	for key := range v {
		if !slices.ContainsFunc(s.Properties, func(p Property) bool { return p.Name == key }) {
			others = append(others, key)
		}
	}
	slices.Sort(others)
	for _, key := range others {
		if s.Additional.never {
			faults = append(faults, name+"."+key+" is unknown")
		} else {
			faults = append(faults, s.Additional.check(name+"."+key, v[key], l.next())...)
		}
	}
	return faults
}

func isType(v any, name string) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case json.Number:
		if name == "number" {
			return true
		}
		n, ok := rational(v)
		return name == "integer" && ok && n.IsInt()
	}
	return false
}

// rational returns the exact value of a number. A huge exponent is refused, because the
// value would use much memory.
func rational(n json.Number) (*big.Rat, bool) {
	text := string(n)
	if i := strings.IndexAny(text, "eE"); i >= 0 && len(text)-i > 5 {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func (l limits) checkNumber(name string, n json.Number) (faults []string) {
	v, ok := rational(n)
	if !ok {
		return nil
	}
	for _, limit := range []struct {
		to     *json.Number
		broken func(cmp int) bool
		text   string
	}{
		{l.Minimum, func(c int) bool { return c < 0 }, "at least"},
		{l.Maximum, func(c int) bool { return c > 0 }, "at most"},
		{l.Above, func(c int) bool { return c <= 0 }, "greater than"},
		{l.Below, func(c int) bool { return c >= 0 }, "less than"},
	} {
		if limit.to == nil {
			continue
		}
		if to, ok := rational(*limit.to); ok && limit.broken(v.Cmp(to)) {
			faults = append(faults, fmt.Sprintf("%s must be %s %s", name, limit.text, *limit.to))
		}
	}
	return faults
}

func between(name, unit string, n int, least, most *int) (faults []string) {
	if least != nil && n < *least {
		faults = append(faults, fmt.Sprintf("%s has %d %s; at least %d are required", name, n, unit, *least))
	}
	if most != nil && n > *most {
		faults = append(faults, fmt.Sprintf("%s has %d %s; at most %d are allowed", name, n, unit, *most))
	}
	return faults
}

// equal compares decoded values. 1 and 1.0 are equal.
func equal(a, b any) bool {
	x, ok := a.(json.Number)
	y, ok2 := b.(json.Number)
	if !ok || !ok2 {
		return reflect.DeepEqual(a, b)
	}
	m, ok := rational(x)
	n, ok2 := rational(y)
	return ok && ok2 && m.Cmp(n) == 0
}

func texts(all []any) string {
	list := make([]string, len(all))
	for i, v := range all {
		text, _ := json.Marshal(v) // cannot fail: it was decoded from JSON
		list[i] = string(text)
	}
	return strings.Join(list, ", ")
}

func withArticle(types []string) string {
	list := make([]string, len(types))
	for i, t := range types {
		switch t {
		case "null":
			list[i] = t
		case "object", "array", "integer":
			list[i] = "an " + t
		default:
			list[i] = "a " + t
		}
	}
	return strings.Join(list, " or ")
}

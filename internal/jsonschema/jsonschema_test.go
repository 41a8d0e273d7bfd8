package jsonschema_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/jsonschema"
)

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		schema string
		good   []string
		bad    map[string]string // by value, a part of the fault
	}{
		{`true`, []string{`1`, `null`}, nil},
		{`false`, nil, map[string]string{`1`: "not allowed"}},
		{`{"type":"integer","minimum":1,"exclusiveMaximum":10}`, []string{`1`, `9.0`, `1e0`}, map[string]string{
			`0`: "at least 1", `10`: "less than 10", `1.5`: "an integer", `"1"`: "an integer", `null`: "an integer"}},
		{`{"type":["string","null"],"minLength":2,"maxLength":3,"pattern":"^ü"}`, []string{`"üb"`, `null`}, map[string]string{
			`"ü"`: "at least 2", `"übel"`: "at most 3", `"ab"`: "pattern", `1`: "a string or null"}},
		{`{"enum":["a",1,null]}`, []string{`"a"`, `1.0`, `null`}, map[string]string{`"b"`: `one of "a", 1, null`}},
		{`{"const":{"a":[1]}}`, []string{`{"a":[1]}`}, map[string]string{`{"a":[2]}`: "one of"}},
		{`{"type":"array","prefixItems":[{"title":"to","type":"string"}],"items":{"type":"integer"},"maxItems":3}`, []string{`[]`, `["a",1]`}, map[string]string{
			`[1]`: "to must be a string", `["a","b"]`: "x[1] must be an integer", `["a",1,2,3]`: "at most 3"}},
		{`{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}`, []string{`{"a":true}`}, map[string]string{
			`{}`: "x.a is missing", `{"a":1}`: "x.a must be a boolean", `{"a":true,"b":1}`: "x.b is unknown"}},
		{`{"properties":{},"additionalProperties":{"type":"number"}}`, []string{`{"a":1.5}`, `1`}, map[string]string{`{"a":"x"}`: "x.a must be a number"}},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, []string{`"a"`, `null`}, map[string]string{`1`: "none of the allowed forms"}},
		{`{"oneOf":[{"type":"number"},{"type":"integer"}]}`, []string{`1.5`}, map[string]string{`1`: "2 of the allowed forms"}},
		{`{"allOf":[{"type":"number"},{"minimum":3}]}`, []string{`3`}, map[string]string{`2`: "at least 3"}},
		{`{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"next":{"$ref":"#/$defs/node"}}}}}`, []string{`{"next":{"next":{}}}`}, map[string]string{`{"next":{"next":1}}`: "x.next.next must be an object"}},
		{`{"type":"string","format":"email","unknown":1}`, []string{`"any"`}, nil},
		{`{"type":"integer"}`, []string{`12345678901234567890123`}, map[string]string{`1e999999999`: "an integer"}},
	} {
		s, err := jsonschema.Parse([]byte(row.schema))
		if err != nil {
			t.Errorf("%s: %v", row.schema, err)
			continue
		}
		for _, v := range row.good {
			if faults := s.Check("x", []byte(v)); len(faults) > 0 {
				t.Errorf("%s: %s: %v", row.schema, v, faults)
			}
		}
		for v, want := range row.bad {
			if got := strings.Join(s.Check("x", []byte(v)), "; "); !strings.Contains(got, want) {
				t.Errorf("%s: %s: %q, want %q", row.schema, v, got, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	deep := strings.Repeat(`{"items":`, 100) + `true` + strings.Repeat(`}`, 100)
	for _, text := range []string{``, `1`, `[]`, `{`, `{"type":"text"}`, `{"type":1}`, `{"pattern":"("}`, `{"$ref":"#/$defs/x"}`, `{"$ref":"http://x"}`, `{"properties":[]}`, `{"items":1}`, deep} {
		if _, err := jsonschema.Parse([]byte(text)); err == nil {
			t.Errorf("%.60s was accepted", text)
		}
	}
}

// A reference to itself must not end in an endless recursion.
func TestLoop(t *testing.T) {
	for _, text := range []string{`{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`} {
		s, err := jsonschema.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Check("x", []byte(`1`))) == 0 {
			t.Errorf("%s accepts a value", text)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(`{"type":"array","prefixItems":[{"type":"string"}]}`, `["a"]`)
	f.Add(`{"$ref":"#"}`, `1`)
	f.Add(`{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}`, `1`)
	f.Add(`{"anyOf":[{"enum":[1e5]},{"minimum":1e-9}]}`, `1e99`)
	f.Fuzz(func(t *testing.T, schema, value string) {
		s, err := jsonschema.Parse([]byte(schema))
		if err == nil {
			s.Check("x", []byte(value))
		}
	})
}

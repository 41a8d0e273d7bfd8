package jobs

import (
	"encoding/json"
	"reflect"
	"strconv"
	"time"

	"github.com/galeserver/gale/internal/typed"
)

// limits are the rules of a validate tag that JSON Schema has keywords for.
type limits struct {
	Maximum     json.Number `json:"maximum,omitempty"`
	Above       json.Number `json:"exclusiveMinimum,omitempty"`
	Below       json.Number `json:"exclusiveMaximum,omitempty"`
	MinLength   *int        `json:"minLength,omitempty"`
	MaxLength   *int        `json:"maxLength,omitempty"`
	MinItems    *int        `json:"minItems,omitempty"`
	MaxItems    *int        `json:"maxItems,omitempty"`
	UniqueItems bool        `json:"uniqueItems,omitempty"`
	Enum        []any       `json:"enum,omitempty"`
}

// formats are the rules on texts that JSON Schema has formats for (section 7.3 of its
// validation vocabulary).
var formats = map[string]string{
	"email": "email", "uuid": "uuid", "uri": "uri", "url": "uri", "ipv4": "ipv4", "ipv6": "ipv6", "hostname": "hostname", "hostname_rfc1123": "hostname",
}

// addRules adds the rules of a field. Rules that JSON Schema does not know are left out.
func (s *valueSchema) addRules(f typed.Field) {
	t := f.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if typed.HasUnmarshaler(t) {
		return
	}
	for _, rule := range f.RulesOfValue() {
		name, param := rule[0], rule[1]
		switch kind := t.Kind(); {
		case name == "oneof":
			s.addChoices(t, param, f.Type.Kind() == reflect.Pointer)
		case kind == reflect.String && formats[name] != "":
			s.Format = formats[name]
		case kind == reflect.String && name == "required":
			setLength(&s.MinLength, nil, 1)
		case kind == reflect.String:
			addLength(&s.MinLength, &s.MaxLength, name, param)
		case (kind == reflect.Slice && t.Elem().Kind() != reflect.Uint8 || kind == reflect.Array) && name == "unique" && param == "":
			s.UniqueItems = true
		case kind == reflect.Slice && t.Elem().Kind() != reflect.Uint8, kind == reflect.Array:
			addLength(&s.MinItems, &s.MaxItems, name, param)
		case kind >= reflect.Int && kind <= reflect.Float64:
			s.addBound(t, name, param)
		}
	}
}

// addLength adds a rule on the number of characters or items.
func addLength(least, most **int, name, param string) {
	n, err := strconv.ParseInt(param, 0, 0)
	if err != nil {
		return
	}
	size := int(n)
	switch name {
	case "min", "gte":
		setLength(least, nil, size)
	case "gt":
		setLength(least, nil, size+1)
	case "max", "lte":
		setLength(nil, most, size)
	case "lt":
		setLength(nil, most, size-1)
	case "len":
		setLength(least, most, size)
	}
}

// setLength sets limits that may be set already; the narrower ones count.
func setLength(least, most **int, size int) {
	if least != nil && (*least == nil || **least < size) {
		*least = &size
	}
	if most != nil && (*most == nil || **most > size) {
		*most = &size
	}
}

// addBound adds a rule on a number.
func (s *valueSchema) addBound(t reflect.Type, name, param string) {
	n, ok := numberOf(t, param)
	if !ok {
		return
	}
	switch name {
	case "min", "gte":
		s.Minimum = n
	case "max", "lte":
		s.Maximum = n
	case "gt":
		s.Above = n
	case "lt":
		s.Below = n
	case "len":
		s.Minimum, s.Maximum = n, n
	}
}

// numberOf returns a parameter as JSON. The library reads 0x10 as an integer, and 1s as a
// duration.
func numberOf(t reflect.Type, param string) (json.Number, bool) {
	if t == reflect.TypeFor[time.Duration]() {
		if d, err := time.ParseDuration(param); err == nil {
			return json.Number(strconv.FormatInt(int64(d), 10)), true
		}
	}
	switch kind := t.Kind(); {
	case kind <= reflect.Int64:
		n, err := strconv.ParseInt(param, 0, 64)
		return json.Number(strconv.FormatInt(n, 10)), err == nil
	case kind <= reflect.Uintptr:
		n, err := strconv.ParseUint(param, 0, 64)
		return json.Number(strconv.FormatUint(n, 10)), err == nil
	}
	n, err := strconv.ParseFloat(param, 64)
	return json.Number(strconv.FormatFloat(n, 'f', -1, 64)), err == nil
}

// addChoices adds the rule oneof.
func (s *valueSchema) addChoices(t reflect.Type, param string, nullable bool) {
	for _, text := range typed.Choices(param) {
		if t.Kind() == reflect.String {
			s.Enum = append(s.Enum, text)
		} else if n, ok := numberOf(t, text); ok {
			s.Enum = append(s.Enum, n)
		}
	}
	if nullable {
		s.Enum = append(s.Enum, nil)
	}
}

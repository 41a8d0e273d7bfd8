package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/duration"
	"github.com/galeserver/gale/internal/typed"
	"github.com/galeserver/gale/internal/utf8text"
)

const (
	// shownValue is the length to which values in faults are cut, in bytes.
	shownValue = 64
	// maxKeys is the largest number of keys in an object.
	maxKeys = 100
)

// faults lists what is wrong with a body. Each fault begins with its key.
type faults struct{ all []string }

// Error returns the first faults, and the number of the others.
func (f *faults) Error() string { return typed.JoinProblems(f.all) }

func (f *faults) add(key, format string, args ...any) {
	f.all = append(f.all, utf8text.Cut(key, shownValue)+": "+fmt.Sprintf(format, args...))
}

// err returns the faults as an error, or nil if there are none.
func (f *faults) err() error {
	if len(f.all) == 0 {
		return nil
	}
	return f
}

// object is a JSON object that a client has sent. It distinguishes a key with a zero value
// from a missing key. A key whose value is null counts as missing.
type object struct {
	place  string // path of the object in the body, for faults: "chain[1]."
	keys   []string
	values map[string]json.RawMessage
	wrong  *faults
}

// readBody decodes a body that must be exactly one JSON object.
func readBody(body []byte) (*object, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var all json.RawMessage
	if err := dec.Decode(&all); errors.Is(err, io.EOF) {
		return nil, errors.New("body: is empty; send a JSON object")
	} else if err != nil {
		return nil, fmt.Errorf("body: is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("body: has data after the JSON object; send one object")
	}
	o := &object{wrong: new(faults)}
	if !o.read(all) {
		return nil, fmt.Errorf("body: must be an object, not %s", kindOf(all))
	}
	return o, nil
}

// read decodes the keys of a valid JSON value. It returns false if that is not an object.
func (o *object) read(raw json.RawMessage) bool {
	if kindOf(raw) != kindObject {
		return false
	}
	o.values = map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the opening brace
	for dec.More() {
		var value json.RawMessage
		key, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return false // cannot happen: the JSON is valid
		}
		name, _ := key.(string)
		if len(o.keys) == maxKeys {
			o.fault(name, "too many keys; an object has at most %d", maxKeys)
			break
		}
		if _, twice := o.values[name]; twice {
			o.fault(name, "is given twice")
			continue
		}
		o.keys, o.values[name] = append(o.keys, name), value
	}
	return true
}

// Types of JSON values, as faults name them.
const (
	kindObject = "an object"
	kindArray  = "an array"
	kindString = "a string"
	kindNumber = "a number"
	kindBool   = "a boolean"
	kindNull   = "null"
)

// kindOf returns the type of a valid JSON value, which its first byte determines.
func kindOf(raw json.RawMessage) string {
	switch raw = bytes.TrimLeft(raw, " \t\r\n"); raw[0] {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	}
	return kindNumber
}

func (o *object) fault(key, format string, args ...any) { o.wrong.add(o.place+key, format, args...) }

// has reports whether a key is present.
func (o *object) has(key string) bool {
	raw, ok := o.values[key]
	return ok && kindOf(raw) != kindNull
}

// is reports whether a key is present with a value of a type. Another type is a fault.
func (o *object) is(key, kind string) bool {
	if !o.has(key) {
		return false
	}
	if got := kindOf(o.values[key]); got != kind {
		o.fault(key, "must be %s, not %s", kind, got)
		return false
	}
	return true
}

// text returns a string, or "" if the key is missing. An empty string is a fault.
func (o *object) text(key string) (s string) {
	if !o.is(key, kindString) {
		return ""
	}
	if err := json.Unmarshal(o.values[key], &s); err != nil || s == "" {
		o.fault(key, "is empty; remove it for the default")
	}
	return s
}

func (o *object) boolean(key string) bool {
	return o.is(key, kindBool) && string(o.values[key]) == "true"
}

// whole returns an integer from 0 to limit.
func (o *object) whole(key string, limit int) (n int, given bool) {
	if !o.is(key, kindNumber) {
		return 0, false
	}
	n, err := strconv.Atoi(string(o.values[key]))
	if err != nil || n < 0 || n > limit {
		o.fault(key, "%s is not an integer between 0 and %d", utf8text.Cut(string(o.values[key]), shownValue), limit)
	}
	return n, true
}

// span returns a duration: a number of seconds, or a string with a Go duration.
func (o *object) span(key string) (d time.Duration, given bool) {
	if !o.has(key) {
		return 0, false
	}
	raw := o.values[key]
	var err error
	switch kindOf(raw) {
	case kindNumber:
		d, err = duration.ParseSeconds(string(raw))
	case kindString:
		var text string
		if err = json.Unmarshal(raw, &text); err == nil {
			d, err = duration.Parse(text)
		}
	default:
		o.fault(key, "must be a number of seconds or a duration, such as \"90s\", not %s", kindOf(raw))
		return 0, true
	}
	if err != nil {
		o.fault(key, "%s %v; give seconds as a number, or a duration, such as \"90s\"", utf8text.Cut(string(raw), shownValue), err)
	}
	return d, true
}

// moment returns a time in the format of RFC 3339. Go's zero time, which would mean no
// time, is converted to another one in the past.
func (o *object) moment(key, instead string) (at time.Time, given bool) {
	if !o.has(key) {
		return at, false
	}
	raw := o.values[key]
	if kindOf(raw) == kindNumber {
		o.fault(key, "must be a time as in RFC 3339, such as \"2030-01-01T00:00:00Z\", not a number%s", instead)
		return at, true
	}
	var text string
	if !o.is(key, kindString) || json.Unmarshal(raw, &text) != nil {
		return at, true
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		o.fault(key, "%s is not a time with a time zone, such as \"2030-01-01T00:00:00Z\"%s", utf8text.Cut(string(raw), shownValue), instead)
	}
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return at, true
}

// objects returns the objects in an array, or nil if the key is missing or the array has
// more than limit elements.
func (o *object) objects(key string, limit int) []*object {
	if !o.is(key, kindArray) {
		return nil
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(o.values[key], &raw); err != nil {
		return nil // cannot happen: the JSON is valid
	}
	if len(raw) > limit {
		o.fault(key, "has %d tasks, more than the limit of %d", len(raw), limit)
		return nil
	}
	all := make([]*object, 0, len(raw))
	for i, each := range raw {
		at := fmt.Sprintf("%s[%d]", key, i)
		next := &object{place: o.place + at + ".", wrong: o.wrong}
		if !next.read(each) {
			o.fault(at, "must be an object, not %s", kindOf(each))
			continue
		}
		all = append(all, next)
	}
	return all
}

// only adds a fault for each key that is not in known. instead has hints for some unknown
// keys.
func (o *object) only(known []string, instead map[string]string) {
	for _, key := range o.keys {
		if slices.Contains(known, key) {
			continue
		}
		like := slices.IndexFunc(known, func(k string) bool { return bare(k) == bare(key) })
		hint, ok := instead[key]
		switch {
		case like >= 0:
			o.fault(key, "unknown key; use %s", known[like])
		case ok:
			o.fault(key, "unknown key; %s", hint)
		default:
			o.fault(key, "unknown key; valid keys are %s", strings.Join(known, ", "))
		}
	}
}

// bare returns a key in lower case, without underscores and hyphens.
func bare(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

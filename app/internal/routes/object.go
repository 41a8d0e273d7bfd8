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
	// shownValue is how much of a value is shown in a fault, in bytes.
	shownValue = 64
	// maxKeys is how many keys of an object are read: no object has as many.
	maxKeys = 100
)

// faults are what is wrong with a body, each behind the key that it is about.
type faults struct{ all []string }

// Error names the first of them.
func (f *faults) Error() string { return typed.JoinProblems(f.all) }

func (f *faults) add(key, format string, args ...any) {
	f.all = append(f.all, utf8text.Cut(key, shownValue)+": "+fmt.Sprintf(format, args...))
}

// err is nil if nothing is wrong.
func (f *faults) err() error {
	if len(f.all) == 0 {
		return nil
	}
	return f
}

// object is a JSON object of a client, read key by key: what is there, with
// which value, is told from what is not. A null counts as not there.
type object struct {
	place  string // put before its keys: "chain[1]."
	keys   []string
	values map[string]json.RawMessage
	wrong  *faults
}

// readBody reads one JSON object and nothing behind it.
func readBody(body []byte) (*object, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var all json.RawMessage
	if err := dec.Decode(&all); errors.Is(err, io.EOF) {
		return nil, errors.New("body: is empty; a JSON object is wanted")
	} else if err != nil {
		return nil, fmt.Errorf("body: is not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("body: one JSON object is wanted, and nothing behind it")
	}
	o := &object{wrong: new(faults)}
	if !o.read(all) {
		return nil, fmt.Errorf("body: must be an object, not %s", kindOf(all))
	}
	return o, nil
}

// read takes a valid JSON value apart if it is an object.
func (o *object) read(raw json.RawMessage) bool {
	if kindOf(raw) != kindObject {
		return false
	}
	o.values = map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // its brace
	for dec.More() {
		var value json.RawMessage
		key, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return false // it was valid before
		}
		name, _ := key.(string)
		if len(o.keys) == maxKeys {
			o.fault(name, "is one key too many; an object has at most %d", maxKeys)
			break
		}
		if _, twice := o.values[name]; twice {
			o.fault(name, "is there twice")
			continue
		}
		o.keys, o.values[name] = append(o.keys, name), value
	}
	return true
}

// What a JSON value may be.
const (
	kindObject = "an object"
	kindArray  = "an array"
	kindText   = "a text"
	kindNumber = "a number"
	kindBool   = "true or false"
	kindNull   = "null"
)

// kindOf tells a JSON value by its first byte.
func kindOf(raw json.RawMessage) string {
	switch raw = bytes.TrimLeft(raw, " \t\r\n"); raw[0] {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindText
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	}
	return kindNumber
}

func (o *object) fault(key, format string, args ...any) { o.wrong.add(o.place+key, format, args...) }

// has reports whether a key is there.
func (o *object) has(key string) bool {
	raw, ok := o.values[key]
	return ok && kindOf(raw) != kindNull
}

// is reports whether a key is there with a value of a kind; of another kind it
// is a fault.
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

// text is empty if the key is not there; an empty text is a fault.
func (o *object) text(key string) (s string) {
	if !o.is(key, kindText) {
		return ""
	}
	if err := json.Unmarshal(o.values[key], &s); err != nil || s == "" {
		o.fault(key, "is empty; leave it out for the default")
	}
	return s
}

func (o *object) boolean(key string) bool {
	return o.is(key, kindBool) && string(o.values[key]) == "true"
}

// whole is a whole number from 0 to limit.
func (o *object) whole(key string, limit int) (n int, given bool) {
	if !o.is(key, kindNumber) {
		return 0, false
	}
	n, err := strconv.Atoi(string(o.values[key]))
	if err != nil || n < 0 || n > limit {
		o.fault(key, "%s is not a whole number within 0 and %d", utf8text.Cut(string(o.values[key]), shownValue), limit)
	}
	return n, true
}

// span is a length of time: a number of seconds, or a Go duration as a text.
func (o *object) span(key string) (d time.Duration, given bool) {
	if !o.has(key) {
		return 0, false
	}
	raw := o.values[key]
	var err error
	switch kindOf(raw) {
	case kindNumber:
		d, err = duration.ParseSeconds(string(raw))
	case kindText:
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

// moment is a time, RFC 3339. One that is long over is not the zero time, which
// would be none.
func (o *object) moment(key, instead string) (at time.Time, given bool) {
	if !o.has(key) {
		return at, false
	}
	raw := o.values[key]
	if kindOf(raw) == kindNumber {
		o.fault(key, "a number is no time; give RFC 3339, such as \"2030-01-01T00:00:00Z\"%s", instead)
		return at, true
	}
	var text string
	if !o.is(key, kindText) || json.Unmarshal(raw, &text) != nil {
		return at, true
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		o.fault(key, "%s is no time with its zone, such as \"2030-01-01T00:00:00Z\"%s", utf8text.Cut(string(raw), shownValue), instead)
	}
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return at, true
}

// objects are those in an array, each placed by its index; nil if the key is not
// there, or holds more than limit.
func (o *object) objects(key string, limit int) []*object {
	if !o.is(key, kindArray) {
		return nil
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(o.values[key], &raw); err != nil {
		return nil // it was valid before
	}
	if len(raw) > limit {
		o.fault(key, "has %d tasks, more than %d", len(raw), limit)
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

// only makes a fault of each key that is not known; instead says what stands for
// some of them.
func (o *object) only(known []string, instead map[string]string) {
	for _, key := range o.keys {
		if slices.Contains(known, key) {
			continue
		}
		like := slices.IndexFunc(known, func(k string) bool { return bare(k) == bare(key) })
		hint, ok := instead[key]
		switch {
		case like >= 0:
			o.fault(key, "unknown key; it is written %s", known[like])
		case ok:
			o.fault(key, "unknown key; %s", hint)
		default:
			o.fault(key, "unknown key; there are %s", strings.Join(known, ", "))
		}
	}
}

// bare is a key without regard to case and to what joins its words.
func bare(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

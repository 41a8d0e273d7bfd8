package command

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/duration"
)

// table is a table [tasks.NAME] or [workers.NAME] of the tasks file. A key that is present never gets its
// default, even if its value is zero or empty.
type table struct {
	values map[string]any
	faults []string
}

func (t *table) fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// typeName returns the TOML type of a value, for error messages.
func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	case map[string]any, []map[string]any:
		return "a table"
	}
	return "a date or time"
}

// valueOf returns the value of a key. It adds a fault if the value has another type.
func valueOf[T any](t *table, key string) (value T, ok bool) {
	found, given := t.values[key]
	if !given {
		return value, false
	}
	if value, ok = found.(T); !ok {
		t.fault("%s: must be %s, not %s", key, typeName(any(value)), typeName(found))
	}
	return value, ok
}

func (t *table) string(key, otherwise string) string {
	s, ok := valueOf[string](t, key)
	switch {
	case !ok:
		return otherwise
	case s == "":
		t.fault("%s: is empty; remove it for the default", key)
	}
	return s
}

func (t *table) integer(key string, low, high, otherwise int) int {
	n, ok := valueOf[int64](t, key)
	switch {
	case !ok:
		return otherwise
	case n < int64(low) || n > int64(high):
		t.fault("%s: %d is not between %d and %d", key, n, low, high)
		return otherwise
	}
	return int(n)
}

// duration returns a Go duration or a number of seconds, greater than zero.
func (t *table) duration(key string, otherwise time.Duration) (d time.Duration) {
	var err error
	switch value := t.values[key].(type) {
	case nil:
		return otherwise
	case string:
		d, err = duration.Parse(value)
	case int64, float64:
		d, err = duration.ParseSeconds(fmt.Sprint(value))
	default:
		t.fault("%s: must be a duration, such as \"90s\", or a number of seconds, not %s", key, typeName(value))
		return otherwise
	}
	switch {
	case err != nil:
		t.fault("%s: %q %v", key, fmt.Sprint(t.values[key]), err)
	case d == 0:
		t.fault("%s: must be greater than zero", key)
	}
	return d
}

func (t *table) strings(key string) (all []string) {
	list, _ := valueOf[[]any](t, key)
	for i, value := range list {
		s, ok := value.(string)
		if !ok {
			t.fault("%s[%d]: must be a string, not %s", key, i, typeName(value))
		}
		all = append(all, s)
	}
	return all
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// env returns the environment of a program, as NAME=value. lookup returns the value of a
// variable that is given as NAME; one that is not set is left out.
func (t *table) env(lookup func(string) (string, bool)) (all []string) {
	for _, e := range t.strings("env") {
		key, _, set := strings.Cut(e, "=")
		if !variable.MatchString(key) || strings.ContainsRune(e, 0) {
			t.fault("env: %q must be NAME or NAME=value", e)
			continue
		}
		if value, ok := lookup(key); !set && ok {
			e, set = key+"="+value, true
		}
		switch {
		case !set:
		case !utf8.ValidString(e): // from the environment; TOML is always UTF-8
			t.fault("env: the value of %s is not valid UTF-8", key)
		default:
			all = append(all, e)
		}
	}
	return all
}

// exitCodes returns a list of exit statuses.
func (t *table) exitCodes(key string) (all []int) {
	list, _ := valueOf[[]any](t, key)
	for _, value := range list {
		code, ok := value.(int64)
		if !ok || code < 1 || code > 255 {
			t.fault("%s: %v is not an exit status between 1 and 255", key, value)
			continue
		}
		all = append(all, int(code))
	}
	return all
}

// unknown returns a fault for each key that is not known.
func (t *table) unknown(known ...string) (faults []string) {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		switch lower := strings.ToLower(key); {
		case slices.Contains(known, key):
		case slices.Contains(known, lower):
			faults = append(faults, fmt.Sprintf("%s: unknown key; use %s", key, lower))
		default:
			faults = append(faults, fmt.Sprintf("%s: unknown key; valid keys are %s", key, strings.Join(known, ", ")))
		}
	}
	return faults
}

package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/span"
)

// table is a task as the file has it, read key by key: a value that is there,
// zero and empty ones among them, never turns into the default.
type table struct {
	values map[string]any
	faults []string
}

func (t *table) fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// typeName is the type of a value in words.
func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "an array"
	case map[string]any, []map[string]any:
		return "a table"
	}
	return "a time"
}

// valueOf returns the value of a key; of another type it is a fault.
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
		t.fault("%s: is empty; leave it out for the default", key)
	}
	return s
}

func (t *table) integer(key string, low, high, otherwise int) int {
	n, ok := valueOf[int64](t, key)
	switch {
	case !ok:
		return otherwise
	case n < int64(low) || n > int64(high):
		t.fault("%s: %d is not within %d and %d", key, n, low, high)
		return otherwise
	}
	return int(n)
}

// span is a Go duration, or a number of seconds, more than zero.
func (t *table) duration(key string, otherwise time.Duration) (d time.Duration) {
	var err error
	switch value := t.values[key].(type) {
	case nil:
		return otherwise
	case string:
		d, err = span.ParseSpan(value)
	case int64, float64:
		d, err = span.ParseSeconds(fmt.Sprint(value))
	default:
		t.fault("%s: must be a duration, such as \"90s\", or a number of seconds, not %s", key, typeName(value))
		return otherwise
	}
	switch {
	case err != nil:
		t.fault("%s: %q %v", key, fmt.Sprint(t.values[key]), err)
	case d == 0:
		t.fault("%s: must be more than zero: a command always has a limit", key)
	}
	return d
}

func (t *table) strings(key string) (all []string) {
	list, _ := valueOf[[]any](t, key)
	for i, value := range list {
		s, ok := value.(string)
		if !ok {
			t.fault("%s[%d]: must be a text, not %s", key, i, typeName(value))
		}
		all = append(all, s)
	}
	return all
}

// codes are exit statuses.
func (t *table) exitCodes(key string) (all []int) {
	list, _ := valueOf[[]any](t, key)
	for _, value := range list {
		code, ok := value.(int64)
		if !ok || code < 1 || code > 255 {
			t.fault("%s: %v is no exit status within 1 and 255", key, value)
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
			faults = append(faults, fmt.Sprintf("%s: unknown key; it is written %s", key, lower))
		default:
			faults = append(faults, fmt.Sprintf("%s: unknown key; there are %s", key, strings.Join(known, ", ")))
		}
	}
	return faults
}

package typed

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// checkTag returns an error if the library cannot use a tag for fields of type t. The
// library finds an invalid tag only when it checks a value, and not with every value. So
// checkTag tries each rule alone, on the zero value of its type.
func checkTag(t reflect.Type, tag string) error {
	if err := try(reflect.TypeFor[string](), "omitempty,"+tag); err != nil { // it only parses the tag
		return err
	}
	parts := strings.Split(tag, ",")
	for i := 0; i < len(parts); i++ {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch part := parts[i]; part {
		case "dive":
			if kind := t.Kind(); kind != reflect.Slice && kind != reflect.Array && kind != reflect.Map {
				return fmt.Errorf("dive needs a slice, an array or a map, not %v", t)
			}
			if i+1 < len(parts) && parts[i+1] == "keys" {
				for i += 2; i < len(parts) && parts[i] != "endkeys"; i++ {
					if t.Kind() != reflect.Map {
						return fmt.Errorf("keys needs a map, not %v", t)
					}
					if err := checkRule(t.Key(), parts[i]); err != nil {
						return err
					}
				}
			}
			t = t.Elem()
		default:
			if err := checkRule(t, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRule tries a rule, or several ones with | between them.
func checkRule(t reflect.Type, rule string) error {
	for one := range strings.SplitSeq(rule, "|") {
		if readsOtherFields(one) {
			continue
		}
		if err := try(t, one); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

// try checks the zero value of t. It returns an error only if the tag is invalid.
func try(t reflect.Type, tag string) error {
	err := protect(func() error { return library().Var(reflect.Zero(t).Interface(), tag) })
	if _, checked := errors.AsType[validator.ValidationErrors](err); checked {
		return nil
	}
	return err
}

// readsOtherFields reports whether a tag has a rule that depends on other fields of the
// struct, or that calls a method of the value.
func readsOtherFields(tag string) bool {
	for rule := range strings.FieldsFuncSeq(tag, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(rule, "=")
		for _, start := range []string{"required_", "excluded_", "skip_", "field", "validateFn"} {
			if strings.HasPrefix(name, start) {
				return true
			}
		}
		if strings.HasSuffix(name, "field") {
			return true
		}
	}
	return false
}

// RulesOfValue returns the rules of a field for its value as a whole, each as its name and
// its parameter. It leaves out those that an empty value need not satisfy, and alternatives
// (a|b).
func (f Field) RulesOfValue() (all [][2]string) {
	for rule := range strings.SplitSeq(f.Rules, ",") {
		name, param, _ := strings.Cut(rule, "=")
		switch {
		case name == "dive" || name == "-":
			return all
		case strings.HasPrefix(name, "omit"):
			if f.Type.Kind() != reflect.Pointer {
				return all
			}
		case !strings.Contains(rule, "|"):
			all = append(all, [2]string{name, strings.NewReplacer("0x2C", ",", "0x7C", "|").Replace(param)})
		}
	}
	return all
}

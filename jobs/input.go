package jobs

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/galeserver/gale/internal/typed"
)

// input describes the In type of a typed task.
type input struct {
	typ    reflect.Type
	fields typed.Fields // the members, if typ is a struct; none for struct{}
	rules  *typed.Rules // rules of typ, if it is a struct; nil: none
	single bool         // true if typ is not a struct: the input is one value
}

// inputName is the keyword for an input that is not a struct.
const inputName = "input"

func inputOf(t reflect.Type) (*input, error) {
	for t.Kind() == reflect.Pointer && typed.IsObject(t.Elem()) {
		t = t.Elem()
	}
	if !typed.IsObject(t) {
		return &input{typ: t, single: true}, supported(t, nil)
	}
	fields, err := typed.FieldsOf(t)
	if err != nil {
		return nil, err
	}
	if err := supported(t, nil); err != nil {
		return &input{typ: t, fields: fields}, err
	}
	rules, err := typed.RulesOf(t)
	return &input{typ: t, fields: fields, rules: rules}, err
}

// validate returns the arguments in the form that the store keeps, [{…}], [value] or [],
// and all faults. results are those of other tasks that will be added later; if there are
// any, members may be missing. stored is true for arguments that were
// read from the store: they may have unknown members, because another version of the
// program may have enqueued the task. The error is for a validate tag that cannot be used.
func (in *input) validate(given []json.RawMessage, kwargs typed.Members, results incoming, stored bool) ([]json.RawMessage, []string, error) {
	if in.single {
		args, faults := in.validateSingle(given, kwargs, results.count)
		return args, faults, nil
	}
	first := 0
	if results.front {
		first = results.count
	}
	object, faults := in.merge(given, kwargs, first)
	known := in.fields.KnownNames()
	for _, m := range object {
		if at := in.fields.Index(m.Name); at >= 0 {
			faults = append(faults, typed.Texts(typed.Check(m.Name, in.fields[at].Type, m.Value, stored))...)
		} else if !stored {
			faults = append(faults, m.Name+" is unknown"+known)
		}
	}
	if results.count > 0 {
		if len(object) == 0 {
			return []json.RawMessage{}, faults, nil
		}
		return []json.RawMessage{object.JSON()}, faults, nil
	}
	for _, f := range in.fields {
		switch {
		case object.Has(f.Name):
		case f.Default != nil:
			object = append(object, typed.Member{Name: f.Name, Value: f.Default})
		case !f.Optional:
			faults = append(faults, f.Name+" is missing")
		}
	}
	if len(in.fields) == 0 {
		return []json.RawMessage{}, faults, nil
	}
	text := object.JSON()
	if len(faults) > 0 || in.rules == nil {
		return []json.RawMessage{text}, faults, nil
	}
	v := reflect.New(in.typ)
	if err := json.Unmarshal(text, v.Interface()); err != nil {
		return nil, []string{typed.DecodeError(err).Error()}, nil
	}
	broken, err := in.rules.Check(v.Interface())
	return []json.RawMessage{text}, typed.Texts(broken), err
}

func (in *input) validateSingle(given []json.RawMessage, kwargs typed.Members, results int) (args []json.RawMessage, faults []string) {
	for _, m := range kwargs {
		switch {
		case m.Name != inputName:
			faults = append(faults, m.Name+" is unknown; use "+inputName)
		case len(given) > 0:
			faults = append(faults, m.Name+" is given twice")
		default:
			given = append(given, m.Value)
		}
	}
	if n := len(given) + results; n > 1 {
		faults = append(faults, fmt.Sprintf("takes one argument, got %d", n))
	} else if n == 0 {
		faults = append(faults, inputName+" is missing")
	}
	if len(given) > 0 {
		faults = append(faults, typed.Texts(typed.Check(inputName, in.typ, given[0], false))...)
	}
	return given, faults
}

// merge makes one object of the arguments. A positional argument is either an object with
// fields or the value of the next field that is not set, beginning with the field first.
// Keywords are added last.
func (in *input) merge(given []json.RawMessage, kwargs typed.Members, first int) (object typed.Members, faults []string) {
	has := map[string]bool{}
	add := func(m typed.Member) {
		if has[m.Name] {
			faults = append(faults, m.Name+" is given twice")
			return
		}
		has[m.Name] = true
		object = append(object, m)
	}
	next := first
	for i, value := range given {
		if more, err := typed.MembersOf(value); err == nil && (i == 0 || i == len(given)-1) && in.isInput(more, len(given)) {
			for _, m := range more {
				add(m)
			}
			continue
		}
		for next < len(in.fields) && has[in.fields[next].Name] {
			next++
		}
		if next >= len(in.fields) {
			return object, append(faults, fmt.Sprintf("takes at most %d arguments, got %d", len(in.fields), len(given)+len(kwargs)))
		}
		add(typed.Member{Name: in.fields[next].Name, Value: value})
	}
	for _, m := range kwargs {
		add(m)
	}
	return object, faults
}

// isInput reports whether an object among the arguments is the input itself and not
// the value of a field. A single object is always the input. If there are several
// arguments, an object is the input if all its members are fields.
func (in *input) isInput(object typed.Members, arguments int) bool {
	if arguments == 1 {
		return true
	}
	for _, m := range object {
		if in.fields.Index(m.Name) < 0 {
			return false
		}
	}
	return len(object) > 0
}

package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/galeserver/gale/internal/typed"
	"github.com/galeserver/gale/internal/utf8text"
)

// decodeArgs reads the arguments of a task that is to be accepted, once.
func (n *NewTask) decodeArgs() (given []json.RawMessage, kwargs typed.Members, err error) {
	if size := len(n.Args) + len(n.Kwargs); size > MaxArgs {
		return nil, nil, fmt.Errorf("%w: %d bytes are more than %d", ErrArgs, size, MaxArgs)
	}
	for _, text := range []json.RawMessage{n.Args, n.Kwargs} {
		if err := utf8text.CheckJSON(text); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrArgs, err)
		}
	}
	if len(n.Args) > 0 && json.Unmarshal(n.Args, &given) != nil {
		return nil, nil, fmt.Errorf("%w: %s takes a JSON array, by position", ErrArgs, n.Name)
	}
	if kwargs, err = typed.MembersOf(n.Kwargs); err != nil || len(n.Kwargs) > 0 && !json.Valid(n.Kwargs) {
		return nil, nil, fmt.Errorf("%w: keywords of %s are not a JSON object", ErrArgs, n.Name)
	}
	if name, twice := kwargs.Duplicate(); twice {
		return nil, nil, fmt.Errorf("%w: %s of %s is given twice", ErrArgs, name, n.Name)
	}
	return given, kwargs, nil
}

// accept returns the stored form of arguments. results is how many results of
// other tasks follow them, which may be anything.
func (d Definition) accept(given []json.RawMessage, kwargs typed.Members, results int) (json.RawMessage, error) {
	var wrong []string
	switch {
	case d.input != nil:
		given, wrong = d.input.accept(given, kwargs, results, false)
		for i, why := range wrong {
			wrong[i] = "input of " + d.Name + ": " + why
		}
	case len(d.Args) == 0 && results > 0 && len(kwargs) == 0: // it takes what comes
	default:
		if given, wrong = d.place(given, kwargs); len(wrong) == 0 {
			given, wrong = d.compare(given, results)
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrArgs, typed.JoinProblems(wrong))
	}
	if given == nil {
		given = []json.RawMessage{}
	}
	args, err := json.Marshal(given)
	if err == nil && d.Check != nil && results == 0 {
		if why := d.Check(args); why != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrArgs, d.Name, why)
		}
	}
	return args, err
}

// Places are the types of the arguments that the task takes by position; empty is
// any. object reports whether it takes one JSON object in place of them.
func (d Definition) Places() (types []ArgType, object bool) {
	for _, arg := range d.Args {
		types = append(types, arg.Type)
	}
	if d.input == nil {
		return types, false
	}
	all := d.input.fields
	if d.input.one {
		all = []typed.Field{{Type: d.input.typ}}
	}
	for _, f := range all {
		of, _ := argTypeOf(f.Type.Kind())
		if typed.HasUnmarshaler(f.Type) {
			of = ""
		}
		types = append(types, of)
	}
	return types, !d.input.one
}

// place puts keywords in the places of the arguments that they name. A place that
// is left open before another has its default.
func (d Definition) place(given []json.RawMessage, kwargs typed.Members) (all []json.RawMessage, wrong []string) {
	if len(kwargs) == 0 {
		return given, nil
	}
	named := map[int]json.RawMessage{}
	last := len(given) - 1
	for _, m := range kwargs {
		at := -1
		for i, arg := range d.Args {
			if arg.Name == m.Name {
				at = i
			}
		}
		switch {
		case at < 0:
			wrong = append(wrong, fmt.Sprintf("%s has no argument %s", d.Name, m.Name))
		case at < len(given):
			wrong = append(wrong, fmt.Sprintf("argument %d of %s, %s, is given twice", at+1, d.Name, m.Name))
		default:
			named[at], last = m.Value, max(last, at)
		}
	}
	all = append(all, given...)
	for i := len(given); i <= last; i++ {
		value, ok := named[i]
		if arg := d.Args[i]; !ok && arg.Default == nil {
			wrong = append(wrong, fmt.Sprintf("argument %d of %s, %s, is missing", i+1, d.Name, arg.Name))
		} else if !ok {
			value, _ = json.Marshal(arg.Default) // it was in the schema
		}
		all = append(all, value)
	}
	return all, wrong
}

// compare says all that is wrong with arguments by position, and fills in the
// defaults unless results follow.
func (d Definition) compare(given []json.RawMessage, results int) (all []json.RawMessage, wrong []string) {
	for i, arg := range d.Args {
		switch {
		case i < len(given) && !arg.Type.matches(given[i]):
			wrong = append(wrong, fmt.Sprintf("argument %d of %s, %s, must be %s", i+1, d.Name, arg.Name, arg.Type.article()))
		case i < len(given) && arg.Check != nil:
			if err := arg.Check(given[i]); err != nil {
				wrong = append(wrong, fmt.Sprintf("argument %d of %s, %s, %v", i+1, d.Name, arg.Name, err))
			}
		case i >= len(given)+results && arg.Default == nil:
			wrong = append(wrong, fmt.Sprintf("argument %d of %s, %s, is missing", i+1, d.Name, arg.Name))
		}
	}
	if n := len(given) + results; n > len(d.Args) {
		wrong = append(wrong, fmt.Sprintf("%s takes at most %d, got %d", d.Name, len(d.Args), n))
	}
	if results > 0 || len(wrong) > 0 {
		return given, wrong
	}
	return d.fill(given)
}

// fill adds the defaults of the last arguments, as far as there are any.
func (d Definition) fill(given []json.RawMessage) (all []json.RawMessage, wrong []string) {
	for _, arg := range d.Args[min(len(given), len(d.Args)):] {
		if arg.Default == nil {
			break // the handler says what is missing
		}
		value, err := json.Marshal(arg.Default)
		if err != nil {
			return given, []string{fmt.Sprintf("default of %s: %v", arg.Name, err)}
		}
		given = append(given, value)
	}
	return given, nil
}

// article is the type as a sentence has it.
func (t ArgType) article() string {
	if t == ArgInteger {
		return "an " + string(t)
	}
	return "a " + string(t)
}

// matches reports whether a JSON value is of the type. Its first byte says so, but
// for integers.
func (t ArgType) matches(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return false
	}
	switch first := raw[0]; t {
	case ArgString:
		return first == '"'
	case ArgBoolean:
		return first == 't' || first == 'f'
	case ArgInteger:
		_, err := strconv.ParseInt(string(raw), 10, 64)
		return err == nil
	case ArgNumber:
		return first == '-' || first >= '0' && first <= '9'
	}
	return false
}

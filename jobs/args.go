package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/galeserver/gale/internal/typed"
	"github.com/galeserver/gale/internal/utf8text"
)

// decodeArgs decodes Args and Kwargs and checks their size and encoding.
func (n *NewTask) decodeArgs() (given []json.RawMessage, kwargs typed.Members, err error) {
	if size := len(n.Args) + len(n.Kwargs); size > MaxArgs {
		return nil, nil, fmt.Errorf("%w: %d bytes of JSON, more than the limit of %d", ErrArgs, size, MaxArgs)
	}
	for _, text := range []json.RawMessage{n.Args, n.Kwargs} {
		if err := utf8text.CheckJSON(text); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrArgs, err)
		}
	}
	if len(n.Args) > 0 && json.Unmarshal(n.Args, &given) != nil {
		return nil, nil, fmt.Errorf("%w: args of %s must be a JSON array", ErrArgs, n.Name)
	}
	if kwargs, err = typed.MembersOf(n.Kwargs); err != nil || len(n.Kwargs) > 0 && !json.Valid(n.Kwargs) {
		return nil, nil, fmt.Errorf("%w: kwargs of %s must be a JSON object", ErrArgs, n.Name)
	}
	if name, twice := kwargs.Duplicate(); twice {
		return nil, nil, fmt.Errorf("%w: %s of %s is given twice", ErrArgs, name, n.Name)
	}
	return given, kwargs, nil
}

// storedArgs checks arguments and returns them in the form that the store keeps, a JSON
// array. in are results of other tasks that will be added later; their types are not known
// yet.
func (d Definition) storedArgs(given []json.RawMessage, kwargs typed.Members, in incoming) (json.RawMessage, error) {
	results := in.count
	var faults []string
	switch {
	case d.input != nil:
		var err error
		if given, faults, err = d.input.validate(given, kwargs, in, false); err != nil {
			return nil, fmt.Errorf("input of %s: %w", d.Name, err)
		}
		for i, fault := range faults {
			faults[i] = "input of " + d.Name + ": " + fault
		}
	case len(d.Args) == 0 && results > 0 && len(kwargs) == 0: // a task without declared arguments accepts any results
	default:
		first := 0 // position of the first argument that is known
		if in.front {
			first, results = in.count, 0
			given = append(make([]json.RawMessage, first), given...)
		}
		if given, faults = d.placeKeywords(given, kwargs); len(faults) == 0 {
			given, faults = d.checkPositional(given, first, results)
		}
		given = given[min(first, len(given)):]
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrArgs, typed.JoinProblems(faults))
	}
	if given == nil {
		given = []json.RawMessage{}
	}
	args, err := json.Marshal(given)
	if err == nil && d.Check != nil && in.count == 0 {
		if fault := d.Check(args); fault != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrArgs, d.Name, fault)
		}
	}
	return args, err
}

// ArgTypes returns the types of the arguments by position. An empty type allows any JSON
// value. object is true if the task also accepts one JSON object with all arguments.
func (d Definition) ArgTypes() (types []ArgType, object bool) {
	for _, arg := range d.Args {
		types = append(types, arg.Type)
	}
	if d.input == nil {
		return types, false
	}
	all := d.input.fields
	if d.input.single {
		all = []typed.Field{{Type: d.input.typ}}
	}
	for _, f := range all {
		of, _ := argTypeOf(f.Type.Kind())
		if typed.HasUnmarshaler(f.Type) {
			of = ""
		}
		types = append(types, of)
	}
	return types, !d.input.single
}

// placeKeywords appends keyword arguments to the positional ones, in the order of
// d.Args. Arguments that are missing before the last one get their defaults.
func (d Definition) placeKeywords(given []json.RawMessage, kwargs typed.Members) (all []json.RawMessage, faults []string) {
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
			faults = append(faults, fmt.Sprintf("%s has no argument %s", d.Name, m.Name))
		case at < len(given):
			faults = append(faults, fmt.Sprintf("argument %d of %s, %s, is given twice", at+1, d.Name, m.Name))
		default:
			named[at], last = m.Value, max(last, at)
		}
	}
	all = append(all, given...)
	for i := len(given); i <= last; i++ {
		value, ok := named[i]
		if arg := d.Args[i]; !ok && arg.Default == nil {
			faults = append(faults, fmt.Sprintf("argument %d of %s, %s, is missing", i+1, d.Name, arg.Name))
		} else if !ok {
			value, _ = json.Marshal(arg.Default) // fillDefaults reports a default that cannot be encoded
		}
		all = append(all, value)
	}
	return all, faults
}

// checkPositional returns the positional arguments and all faults in them. The first ones
// are not known yet. If there are no faults and no results will be appended, it adds the
// defaults.
func (d Definition) checkPositional(given []json.RawMessage, first, results int) (all []json.RawMessage, faults []string) {
	for i, arg := range d.Args {
		switch {
		case i < first:
		case i < len(given) && !arg.Type.matches(given[i]):
			faults = append(faults, fmt.Sprintf("argument %d of %s, %s, must be %s", i+1, d.Name, arg.Name, arg.Type.withArticle()))
		case i < len(given) && arg.Check != nil:
			if err := arg.Check(given[i]); err != nil {
				faults = append(faults, fmt.Sprintf("argument %d of %s, %s, %v", i+1, d.Name, arg.Name, err))
			}
		case i >= len(given)+results && arg.Default == nil:
			faults = append(faults, fmt.Sprintf("argument %d of %s, %s, is missing", i+1, d.Name, arg.Name))
		}
	}
	if n := len(given) + results; n > len(d.Args) {
		faults = append(faults, fmt.Sprintf("%s takes at most %d arguments, got %d", d.Name, len(d.Args), n))
	}
	if results > 0 || len(faults) > 0 {
		return given, faults
	}
	return d.fillDefaults(given)
}

// fillDefaults appends the defaults of the arguments that were left out.
func (d Definition) fillDefaults(given []json.RawMessage) (all []json.RawMessage, faults []string) {
	for _, arg := range d.Args[min(len(given), len(d.Args)):] {
		if arg.Default == nil {
			break // Job.Args reports the missing argument
		}
		value, err := json.Marshal(arg.Default)
		if err != nil {
			return given, []string{fmt.Sprintf("default of %s: %v", arg.Name, err)}
		}
		given = append(given, value)
	}
	return given, nil
}

// withArticle returns "a" or "an" and the type.
func (t ArgType) withArticle() string {
	if t == ArgInteger {
		return "an " + string(t)
	}
	return "a " + string(t)
}

// matches reports whether a valid JSON value has the type. The first byte is enough to
// tell, except for integers.
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

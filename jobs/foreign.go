package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/galeserver/gale/internal/jsonschema"
	"github.com/galeserver/gale/internal/typed"
)

// Announced finds the tasks whose handlers are in other programs, for a Client.
type Announced interface {
	// Announced returns the definitions with a name, made by Foreign. There are several
	// if different versions of a program run at the same time; the newest is the first.
	// Without fresh, they may be a second old.
	Announced(ctx context.Context, name string, fresh bool) ([]Definition, error)
}

// Foreign returns d as the definition of a task whose handler is in another program.
// Arguments are checked against a JSON Schema, by the keywords that package
// internal/jsonschema supports; without a schema all arguments are accepted.
//
// A schema of the type array describes the arguments by position, as Definition.Schema
// does: an element with a title can be given by that name. Further names are described by
// properties, required and additionalProperties of the same schema; a name that they do not
// allow is refused. A schema of the type object describes the arguments by name, and
// positional arguments fill its properties in order. The error says what is wrong with the
// schema.
func Foreign(d Definition, schema json.RawMessage) (Definition, error) {
	d.foreign = &foreign{text: schema}
	if len(schema) > 0 && string(schema) != "null" {
		parsed, err := jsonschema.Parse(schema)
		if err != nil {
			return d, fmt.Errorf("%w: %w", ErrOption, err)
		}
		d.foreign.schema = parsed
	}
	return d, nil
}

// Accepts returns an error that wraps ErrArgs if a task of another program does not accept
// the arguments of a stored task.
func (d Definition) Accepts(t *Task) error {
	n := NewTask{Name: t.Name, Args: t.Args, Kwargs: t.Kwargs}
	given, kwargs, err := n.decodeArgs()
	if err == nil && d.foreign != nil {
		err = d.checkForeign(given, kwargs, incoming{})
	}
	return err
}

// checkForeign checks arguments of a task of another program. Nothing is known of arguments
// to which results will be added.
func (d Definition) checkForeign(given []json.RawMessage, kwargs typed.Members, results incoming) error {
	if results.count > 0 {
		return nil
	}
	faults := d.foreign.check(given, kwargs)
	for i, fault := range faults {
		faults[i] = "input of " + d.Name + ": " + fault
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrArgs, typed.JoinProblems(faults))
	}
	return nil
}

// AnySchema returns a JSON Schema of the arguments that one of the definitions accepts.
func AnySchema(all []Definition) (json.RawMessage, error) {
	var schemas []json.RawMessage
	for _, d := range all {
		schema, err := d.Schema()
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(schemas, func(s json.RawMessage) bool { return string(s) == string(schema) }) {
			schemas = append(schemas, schema)
		}
	}
	if len(schemas) == 1 {
		return schemas[0], nil
	}
	return json.Marshal(map[string][]json.RawMessage{"anyOf": schemas})
}

// foreign describes the arguments of a task of another program.
type foreign struct {
	text   json.RawMessage    // the schema as it was announced
	schema *jsonschema.Schema // nil: any arguments
}

// check returns what is wrong with arguments.
func (f *foreign) check(given []json.RawMessage, kwargs typed.Members) (faults []string) {
	switch {
	case f.schema != nil && f.schema.IsArray():
		return f.checkArray(given, kwargs)
	case f.schema != nil && f.schema.IsObject():
		return f.checkObject(given, kwargs)
	}
	return nil
}

func (f *foreign) checkArray(given []json.RawMessage, kwargs typed.Members) (faults []string) {
	names := make([]string, len(f.schema.Prefix))
	for i, each := range f.schema.Prefix {
		names[i] = each.Title
	}
	named, last := map[int]json.RawMessage{}, len(given)-1
	var others typed.Members
	for _, m := range kwargs {
		switch at := slices.Index(names, m.Name); {
		case at < 0:
			others = append(others, m)
		case at < len(given):
			faults = append(faults, m.Name+" is given twice")
		default:
			named[at], last = m.Value, max(last, at)
		}
	}
	all := append([]json.RawMessage{}, given...)
	for i := len(given); i <= max(last, f.schema.MinItems()-1) && i < len(names); i++ {
		value, ok := named[i]
		if !ok {
			if value = f.schema.Prefix[i].Default; value == nil {
				faults = append(faults, cmp.Or(names[i], fmt.Sprintf("argument %d", i+1))+" is missing")
				continue
			}
		}
		all = append(all, value)
	}
	faults = append(faults, f.checkOthers(others)...)
	if len(faults) > 0 {
		return faults
	}
	text, err := json.Marshal(all)
	if err != nil {
		return []string{err.Error()}
	}
	return f.schema.Check("args", text)
}

// checkOthers checks the keyword arguments that have no position.
func (f *foreign) checkOthers(others typed.Members) (faults []string) {
	for _, m := range others {
		i := slices.IndexFunc(f.schema.Properties, func(p jsonschema.Property) bool { return p.Name == m.Name })
		switch {
		case i >= 0:
			faults = append(faults, f.schema.Properties[i].Check(m.Name, m.Value)...)
		case f.schema.Additional == nil || f.schema.Additional.Never():
			faults = append(faults, m.Name+" is unknown")
		default:
			faults = append(faults, f.schema.Additional.Check(m.Name, m.Value)...)
		}
	}
	for _, name := range f.schema.Required {
		if !others.Has(name) {
			faults = append(faults, name+" is missing")
		}
	}
	return faults
}

func (f *foreign) checkObject(given []json.RawMessage, kwargs typed.Members) (faults []string) {
	var object typed.Members
	for i, value := range given {
		if i == len(f.schema.Properties) {
			return []string{fmt.Sprintf("takes at most %d arguments, got %d", i, len(given))}
		}
		object = append(object, typed.Member{Name: f.schema.Properties[i].Name, Value: value})
	}
	for _, m := range kwargs {
		if object.Has(m.Name) {
			faults = append(faults, m.Name+" is given twice")
			continue
		}
		object = append(object, m)
	}
	if len(faults) > 0 {
		return faults
	}
	return f.schema.Check("args", object.JSON())
}

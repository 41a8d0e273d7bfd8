package jobs

// Schema describes the arguments of a task, an array by position, in JSON
// Schema (draft 2020-12, https://json-schema.org/draft/2020-12/schema).
type Schema struct {
	Schema string      `json:"$schema"`
	Type   string      `json:"type"`
	Prefix []ArgSchema `json:"prefixItems"`
	Items  bool        `json:"items"` // false: nothing behind Prefix
	Min    int         `json:"minItems"`
	Max    int         `json:"maxItems"`
}

// ArgSchema describes one argument.
type ArgSchema struct {
	Title   string  `json:"title"`
	Type    ArgType `json:"type"`
	Default any     `json:"default,omitempty"`
}

// Schema describes what checkArgs accepts.
func (d Definition) Schema() Schema {
	s := Schema{Schema: "https://json-schema.org/draft/2020-12/schema", Type: "array", Prefix: []ArgSchema{}, Max: len(d.Args)}
	for i, a := range d.Args {
		s.Prefix = append(s.Prefix, ArgSchema{a.Name, a.Type, a.Default})
		if a.Default == nil {
			s.Min = i + 1
		}
	}
	return s
}

package typed

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Member is a name and a value of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members are those of an object, in its order.
type Members []Member

var errNoObject = errors.New("not a JSON object")

// MembersOf reads an object; null and nothing have no members.
func MembersOf(data json.RawMessage) (all Members, err error) {
	if data = bytes.TrimSpace(data); len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errNoObject
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := Member{Name: name.(string)} // a key of an object always is one
		if err := dec.Decode(&m.Value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil || dec.More() {
		return nil, errNoObject
	}
	return all, nil
}

// Has reports whether one of them is called name.
func (all Members) Has(name string) bool {
	for _, m := range all {
		if m.Name == name {
			return true
		}
	}
	return false
}

// Twice returns a name that two members have, if there is one.
func (all Members) Twice() (name string, found bool) {
	seen := make(map[string]bool, len(all))
	for _, m := range all {
		if seen[m.Name] {
			return m.Name, true
		}
		seen[m.Name] = true
	}
	return "", false
}

// JSON is the object.
func (all Members) JSON() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.Name) // a string always can be
		b.Write(name)
		b.WriteByte(':')
		if json.Compact(&b, m.Value) != nil {
			b.WriteString("null") // decoded before, so it is JSON
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

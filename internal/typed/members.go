package typed

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Member is a member of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members are the members of a JSON object, in order.
type Members []Member

var errNotObject = errors.New("not a JSON object")

// MembersOf returns the members of a JSON object. There are none if data is null or empty.
func MembersOf(data json.RawMessage) (all Members, err error) {
	if data = bytes.TrimSpace(data); len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errNotObject
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := Member{Name: name.(string)} // a key is always a string
		if err := dec.Decode(&m.Value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil || dec.More() {
		return nil, errNotObject
	}
	return all, nil
}

// Has reports whether there is a member with a name.
func (all Members) Has(name string) bool {
	for _, m := range all {
		if m.Name == name {
			return true
		}
	}
	return false
}

// Duplicate returns a name that two members have. found is false if there is none.
func (all Members) Duplicate() (name string, found bool) {
	seen := make(map[string]bool, len(all))
	for _, m := range all {
		if seen[m.Name] {
			return m.Name, true
		}
		seen[m.Name] = true
	}
	return "", false
}

// JSON returns the object.
func (all Members) JSON() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.Name) // never fails for a string
		b.Write(name)
		b.WriteByte(':')
		if json.Compact(&b, m.Value) != nil {
			b.WriteString("null") // not possible, because m.Value was decoded before
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

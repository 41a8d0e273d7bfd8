package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
)

// member is a name and a value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members are those of an object, in its order.
type members []member

var errNoObject = errors.New("not a JSON object")

// membersOf reads an object; null and nothing have no members.
func membersOf(data json.RawMessage) (all members, err error) {
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
		m := member{name: name.(string)} // a key of an object always is one
		if err := dec.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil || dec.More() {
		return nil, errNoObject
	}
	return all, nil
}

// has reports whether one of the first n is called name.
func (all members) has(name string, n int) bool {
	for _, m := range all[:n] {
		if m.name == name {
			return true
		}
	}
	return false
}

// json is the object.
func (all members) json() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name) // a string always can be
		b.Write(name)
		b.WriteByte(':')
		if json.Compact(&b, m.value) != nil {
			b.WriteString("null") // decoded before, so it is JSON
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}

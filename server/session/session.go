package session

import (
	"encoding/json"
	"strings"
)

// Names of the fields that are not the application's.
const (
	subjectField = ".subject"
	flashField   = ".flash"
	untilField   = ".until" // when the lifetime ends, Unix time in ms
)

// Session has the values of one client. It belongs to one request and is not safe for
// concurrent use. What is changed is written when the handler returns.
type Session struct {
	token        string // "": it is new
	stale        bool   // the client has the cookie of a session that is no more
	ended        string // the token that is no longer good
	values       map[string]string
	set, deleted map[string]struct{}
}

// Get returns a value, or "" if there is none.
func (s *Session) Get(name string) string {
	if strings.HasPrefix(name, ".") {
		return ""
	}
	return s.values[name]
}

// Set keeps a value. It panics if the name begins with a dot.
func (s *Session) Set(name, value string) {
	if strings.HasPrefix(name, ".") {
		panic("session: the name " + name + " begins with a dot")
	}
	s.put(name, value)
}

// Delete forgets a value.
func (s *Session) Delete(name string) {
	if _, ok := s.values[name]; ok && !strings.HasPrefix(name, ".") {
		s.remove(name)
	}
}

// Subject returns what Login was called with, or "".
func (s *Session) Subject() string { return s.values[subjectField] }

// Login says who the client is: the Subject of its Identity from the next request on. The
// session gets a new token and a new lifetime, and keeps its values, so that a token that
// somebody else planted before is worth nothing. An empty subject is nobody.
func (s *Session) Login(subject string) {
	s.renew()
	delete(s.values, untilField)
	for name := range s.values {
		s.set[name] = struct{}{}
	}
	s.put(subjectField, subject)
}

// Logout ends the session and forgets its values. Values that are set afterwards begin
// another one.
func (s *Session) Logout() {
	s.renew()
	s.values = nil
}

// Flash keeps a text for the next call of Flashes, which is mostly in the next request:
// "your order has been placed" on the page that a form redirects to.
func (s *Session) Flash(text string) {
	all, err := json.Marshal(append(s.flashes(), text))
	if err == nil { // texts always can be encoded
		s.put(flashField, string(all))
	}
}

// Flashes returns the texts that were given to Flash, and forgets them.
func (s *Session) Flashes() []string {
	all := s.flashes()
	if all != nil {
		s.remove(flashField)
	}
	return all
}

func (s *Session) flashes() (all []string) {
	if text := s.values[flashField]; text != "" {
		_ = json.Unmarshal([]byte(text), &all) // Flash has written it
	}
	return all
}

// renew gives the token up.
func (s *Session) renew() {
	if s.token != "" {
		s.ended = s.token
	}
	s.token = ""
	s.set, s.deleted = map[string]struct{}{}, nil
}

func (s *Session) put(name, value string) {
	if s.values == nil {
		s.values = map[string]string{}
	}
	if s.set == nil {
		s.set = map[string]struct{}{}
	}
	s.values[name] = value
	s.set[name] = struct{}{}
	delete(s.deleted, name)
}

func (s *Session) remove(name string) {
	delete(s.values, name)
	delete(s.set, name)
	if s.token == "" { // nothing is written of it yet
		return
	}
	if s.deleted == nil {
		s.deleted = map[string]struct{}{}
	}
	s.deleted[name] = struct{}{}
}

// size is that of all names and values in bytes.
func (s *Session) size() (n int) {
	for name, value := range s.values {
		n += len(name) + len(value)
	}
	return n
}

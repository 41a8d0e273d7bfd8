package session

import (
	"encoding/json"
	"strings"

	"github.com/galeserver/gale/server"
)

// Names of the fields that this package uses. Those of an application do not begin with
// a dot.
const (
	subjectField = ".subject"
	flashField   = ".flash"
	untilField   = ".until" // when the lifetime ends, Unix time in ms
)

// Session holds the values of one client during one request. It is not safe for
// concurrent use. Middleware writes the changes when the handler returns.
type Session struct {
	token        string              // "" for a new session
	stale        bool                // the client's cookie belongs to a session that has ended
	endedToken   string              // token of the session that Login or Logout has ended
	values       map[string]string   // values by name
	set, deleted map[string]struct{} // names of values that the request has changed
}

// Admission returns a result for server.Route.Admit with which Sessions.Of returns s in the
// handler, and server.Admitted returns value.
func (s *Session) Admission(value any) server.Admission {
	return server.Admission{Value: value, Key: sessionKey{}, UserValue: s}
}

// Get returns a value, or "" if there is none.
func (s *Session) Get(name string) string {
	if strings.HasPrefix(name, ".") {
		return ""
	}
	return s.values[name]
}

// Set sets a value. It panics if the name begins with a dot.
func (s *Session) Set(name, value string) {
	if strings.HasPrefix(name, ".") {
		panic("session: the name " + name + " begins with a dot")
	}
	s.put(name, value)
}

// Delete removes a value, if there is one.
func (s *Session) Delete(name string) {
	if _, ok := s.values[name]; ok && !strings.HasPrefix(name, ".") {
		s.remove(name)
	}
}

// Subject returns the subject of the last Login, or "" if the client is not logged in.
func (s *Session) Subject() string { return s.values[subjectField] }

// Login marks the client as logged in. subject becomes the Subject of the client's
// Identity from the next request on; "" means that nobody is logged in. The session keeps
// its values, but gets a new lifetime and a new token: a token that an attacker has
// placed in the browser before (session fixation) becomes invalid.
func (s *Session) Login(subject string) {
	s.renew()
	delete(s.values, untilField)
	for name := range s.values {
		s.set[name] = struct{}{}
	}
	s.put(subjectField, subject)
}

// Logout ends the session and removes its values. A value that is set afterwards starts
// a new session.
func (s *Session) Logout() {
	s.renew()
	s.values = nil
}

// Flash stores a message for the next call of Flashes, usually in the next request. For
// example, a handler that redirects can show "your order has been placed" on the next page.
func (s *Session) Flash(text string) {
	all, err := json.Marshal(append(s.flashes(), text))
	if err == nil { // a list of strings can always be encoded
		s.put(flashField, string(all))
	}
}

// Flashes returns the messages that were stored by Flash, oldest first, and removes them.
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

// renew makes s a new session, without a token, and marks the old token as ended.
func (s *Session) renew() {
	if s.token != "" {
		s.endedToken = s.token
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
	if s.token == "" { // no value of a new session was written yet
		return
	}
	if s.deleted == nil {
		s.deleted = map[string]struct{}{}
	}
	s.deleted[name] = struct{}{}
}

// size returns the length of all names and values, in bytes.
func (s *Session) size() (n int) {
	for name, value := range s.values {
		n += len(name) + len(value)
	}
	return n
}

package server

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// segment is a part of a route's path between two slashes.
type segment struct {
	text    string         // fixed text; "" for a parameter
	name    string         // of the parameter
	pattern *regexp.Regexp // that a value of the parameter matches as a whole; nil: any
	rest    bool           // the parameter is the rest of the path
}

func (s segment) fixed() bool { return s.name == "" }

// shape is what a segment is whatever its parameter is called.
func (s segment) shape() string {
	switch {
	case s.fixed():
		return s.text
	case s.rest:
		return "{:*}"
	case s.pattern != nil:
		return "{:" + s.pattern.String() + "}"
	}
	return "{}"
}

// parsePath reads the path of a route. A parameter is a whole segment.
func parsePath(path string) (segments []segment, err error) {
	if !cleanPath([]byte(path)) {
		return nil, errors.New("no request can have this path")
	}
	names := make(map[string]bool)
	for rest, more := path[1:], true; more; {
		var text string
		if text, rest, more, err = cutSegment(rest); err != nil {
			return nil, err
		}
		s, err := parseSegment(text)
		switch {
		case err != nil:
			return nil, err
		case s.rest && more:
			return nil, fmt.Errorf("%s must be the last segment", text)
		case !s.fixed() && names[s.name]:
			return nil, fmt.Errorf("two parameters are called %q", s.name)
		}
		names[s.name] = true
		segments = append(segments, s)
	}
	return segments, nil
}

// cutSegment cuts path at the first slash that is in no braces.
func cutSegment(path string) (text, rest string, more bool, err error) {
	depth := 0
	for i, c := range []byte(path) {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '/' && depth > 0:
			return "", "", false, errors.New("a slash inside of braces")
		case c == '/':
			return path[:i], path[i+1:], true, nil
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 {
		return "", "", false, errors.New("braces do not match")
	}
	return path, "", false, nil
}

func parseSegment(text string) (segment, error) {
	if !strings.ContainsAny(text, "{}") {
		return segment{text: text}, nil
	}
	if text[0] != '{' || text[len(text)-1] != '}' || strings.Contains(text[1:len(text)-1], "}{") {
		return segment{}, fmt.Errorf("segment %q: a parameter must be a whole segment", text)
	}
	name, pattern, matched := strings.Cut(text[1:len(text)-1], ":")
	if !validName(name) {
		return segment{}, fmt.Errorf("segment %q: the name of a parameter is letters, digits, _ and -", text)
	}
	switch {
	case !matched:
		return segment{name: name}, nil
	case pattern == "*":
		return segment{name: name, rest: true}, nil
	case pattern == "":
		return segment{}, fmt.Errorf("segment %q: no pattern after the colon", text)
	}
	expr, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return segment{}, fmt.Errorf("segment %q: %w", text, err)
	}
	return segment{name: name, pattern: expr}, nil
}

// routerPath writes a path as the router reads it. Its own patterns match the first
// part of a segment; here they match the whole.
func routerPath(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		switch {
		case s.fixed():
			b.WriteString("/" + s.text)
		case s.rest:
			b.WriteString("/{" + s.name + ":*}")
		case s.pattern != nil:
			b.WriteString("/{" + s.name + ":" + s.pattern.String() + "}")
		default:
			b.WriteString("/{" + s.name + "}")
		}
	}
	return b.String()
}

func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r|0x20 && r|0x20 <= 'z'
		return !letter && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// shapeOf is equal for paths that differ in the names of their parameters only.
func shapeOf(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + s.shape())
	}
	return b.String()
}

// Clash reports whether a request could be for both of two routes, which matters where
// they have different owners: the one whose path is more exact would take requests away
// from the other. Their methods are equal, or GET and HEAD, and so are their paths,
// segment by segment:
//
//   - fixed text is equal to itself and to every parameter that matches it, so
//     /tasks/mine clashes with /tasks/{id};
//   - a parameter is equal to every other, whatever their names; of two with regular
//     expressions nobody can say, so they clash;
//   - {name:*} is equal to whatever follows, also to several segments.
//
// A route with Yields does not clash with a more exact one. A path that New refuses
// clashes with nothing.
func Clash(a, b Route) bool {
	if methodOf(a) != methodOf(b) {
		return false
	}
	pathA, errA := parsePath(a.Path)
	pathB, errB := parsePath(b.Path)
	if errA != nil || errB != nil || !overlap(pathA, pathB) {
		return false
	}
	yields := a.Yields && covers(pathA, pathB) || b.Yields && covers(pathB, pathA)
	return !yields
}

// methodOf is the method that a route's requests are compared by: GET serves HEAD.
func methodOf(r Route) string {
	if r.Method == http.MethodHead {
		return http.MethodGet
	}
	return r.Method
}

// meet reports whether some path matches both a and b.
func overlap(a, b []segment) bool {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a) || i >= len(b):
			return false
		case a[i].rest || b[i].rest:
			return true
		case !a[i].overlaps(b[i]):
			return false
		}
	}
	return true
}

// meets reports whether some text matches both s and o, neither of which is a rest.
func (s segment) overlaps(o segment) bool {
	switch {
	case s.fixed() && o.fixed():
		return s.text == o.text
	case s.fixed():
		return o.matches(s.text)
	case o.fixed():
		return s.matches(o.text)
	}
	return true
}

// matches reports whether text is a value of the parameter s.
func (s segment) matches(text string) bool {
	return text != "" && (s.pattern == nil || s.pattern.MatchString(text))
}

// covers reports whether a ends in a rest and every path that matches b matches a as
// well, and not the other way round: b is the more exact one.
func covers(a, b []segment) bool {
	last := len(a) - 1
	if !a[last].rest || len(b) < len(a) || shapeOf(a) == shapeOf(b) {
		return false
	}
	for i, s := range a[:last] {
		if b[i].rest || s.shape() != b[i].shape() && (s.fixed() || s.pattern != nil && (!b[i].fixed() || !s.matches(b[i].text))) {
			return false
		}
	}
	return true
}

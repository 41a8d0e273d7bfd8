package server

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// segment is the part of a route's path between two slashes.
type segment struct {
	text    string         // fixed text; "" for a parameter
	name    string         // name of the parameter; "" for fixed text
	pattern *regexp.Regexp // pattern that the complete value must match; nil matches any value
	rest    bool           // the parameter is the rest of the path
}

func (s segment) fixed() bool { return s.name == "" }

// shape returns the segment in the syntax of a route, without the name of its parameter.
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

// parsePath parses the path of a route. A parameter is a whole segment.
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

// cutSegment cuts path at the first slash outside of braces.
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

// routerPath returns a path in the syntax of the router. In the router a pattern may
// match only the beginning of a segment, so parseSegment has put it between ^ and $.
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

// shapeOf returns the same text for paths that differ only in the names of parameters.
func shapeOf(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + s.shape())
	}
	return b.String()
}

// Clash reports whether one request could match both routes. That matters if different
// packages add the routes: the route with the more specific path would get requests that
// the other one expects. Two routes clash if their methods are equal, or GET and HEAD,
// and if all segments of their paths overlap:
//
//   - fixed text overlaps with the same text and with every parameter that accepts it,
//     so /tasks/mine clashes with /tasks/{id};
//   - a parameter overlaps with every other parameter, whatever their names; two regular
//     expressions are assumed to overlap;
//   - {name:*} overlaps with all segments that follow.
//
// A route with Yields does not clash with a more specific one. A path that New refuses
// does not clash with any path.
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

// methodOf returns the method for comparing routes. GET also serves HEAD.
func methodOf(r Route) string {
	if r.Method == http.MethodHead {
		return http.MethodGet
	}
	return r.Method
}

// overlap reports whether a path exists that matches both a and b.
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

// overlaps reports whether a text exists that matches both s and o. Neither of them may
// be a {name:*}.
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

// matches reports whether text is a valid value of the parameter s.
func (s segment) matches(text string) bool {
	return text != "" && (s.pattern == nil || s.pattern.MatchString(text))
}

// covers reports whether a ends in {name:*} and b is more specific: every path that
// matches b also matches a, but not the reverse.
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

package openapi

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/galeserver/gale/server"
)

// Group is a part of the routes: one that an application can switch off as a whole, or
// the application's own.
type Group struct {
	Name        string // becomes a tag
	Description string
	Prefix      string // in front of the paths of Routes; empty for none
	Routes      []server.Route
	// Operations describe the routes by method and path, as "GET /tasks/{id}". A
	// catch-all may have several, each with a Path of its own.
	Operations map[string][]Operation
	// Refused are routes, by method and path, that exist only to respond with 405 in the
	// way of their protocol. They are not in the document.
	Refused []string
	// Types are the schemas that Operations refer to. Groups may share some.
	Types []Type
}

// Access is what a request must prove before its handler runs.
type Access int

// The kinds of access. The first is for everybody.
const (
	Open      Access = iota
	SameSite         // no page of an origin that is not allowed has sent it
	Read             // the token, or a session of the console
	Write            // both
	Handshake        // Write, and a WebSocket may send the token as a subprotocol
)

// Operation describes a route. ID, Summary and Description are one sentence each.
type Operation struct {
	// Path is the template where that differs from the path of the route.
	Path string `json:"-"`
	// Access decides about Security, and about the responses 401 and 403.
	Access Access `json:"-"`
	// Problems are further statuses whose body is an Error.
	Problems []int `json:"-"`

	ID          string                `json:"operationId"`
	Tags        []string              `json:"tags"`
	Summary     string                `json:"summary"`
	Description string                `json:"description"`
	Parameters  []Parameter           `json:"parameters,omitempty"`
	RequestBody *RequestBody          `json:"requestBody,omitempty"`
	Responses   map[string]*Response  `json:"responses"`
	Security    []map[string][]string `json:"security,omitempty"`
}

// key is how Operations and Refused name a route.
func key(r server.Route) string { return r.Method + " " + r.Path }

// Own returns the group of an application's routes, of which only what the table of
// routes says is known. taken are the names of the other groups.
func Own(name string, routes []server.Route, taken []Group) Group {
	for _, g := range taken {
		if g.Name == name {
			name += " (application)"
			break
		}
	}
	g := Group{Name: name, Description: "Routes of the application itself.", Operations: map[string][]Operation{}}
	ids := map[string]bool{}
	for _, r := range routes {
		if methodField(r.Method) == "" {
			continue
		}
		id := ownID(r)
		for first, n := id, 2; ids[id]; n++ {
			id = first + "_" + strconv.Itoa(n)
		}
		ids[id] = true
		g.Routes = append(g.Routes, r)
		g.Operations[key(r)] = []Operation{{
			ID: id, Access: ownAccess(r), Summary: r.Method + " " + r.Path,
			Description: "Handled by the application, which says nothing of the body and the responses here.",
			Responses:   map[string]*Response{},
		}}
	}
	return g
}

// ownAccess returns the access that the guard requires for a route of the application.
func ownAccess(r server.Route) Access {
	switch {
	case !r.Writes && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions || r.Method == http.MethodTrace):
		return Open
	case r.Public:
		return SameSite
	}
	return Handshake
}

// ownID makes an operationId: letters, digits and underscores. Those of the platform's
// operations have no underscore.
func ownID(r server.Route) string {
	path := strings.Map(func(c rune) rune {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') {
			return '_'
		}
		return c
	}, template(r.Path).path)
	return strings.ToLower(r.Method) + "_" + cmp.Or(strings.Trim(path, "_"), "root")
}

// methodField returns the field of a path item for the operation of a method. It is empty
// for methods that OpenAPI 3.1 does not define.
func methodField(method string) string {
	switch method {
	case "GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE":
		return strings.ToLower(method)
	}
	return ""
}

// pathTemplate is the path of a route as OpenAPI writes it.
type pathTemplate struct {
	path   string
	shape  string // equal for templates that differ in the names of parameters only
	params []Parameter
}

// template reads the path of a route, which server.New has found right.
func template(path string) (t pathTemplate) {
	var named, blank []string
	for segment := range strings.SplitSeq(path, "/") { // no slash is inside of braces
		inner, isParam := strings.CutPrefix(segment, "{")
		if !isParam {
			named, blank = append(named, segment), append(blank, segment)
			continue
		}
		name, pattern, _ := strings.Cut(strings.TrimSuffix(inner, "}"), ":")
		p := Parameter{Name: name, In: "path", Required: true, Schema: Text()}
		switch pattern {
		case "":
		case "*":
			p.Description = "The rest of the path; slashes in it may be sent as they are, or as %2F."
		default:
			p.Description = fmt.Sprintf("Matches the regular expression %s as a whole.", pattern)
		}
		t.params = append(t.params, p)
		named, blank = append(named, "{"+name+"}"), append(blank, "{}")
	}
	t.path, t.shape = strings.Join(named, "/"), strings.Join(blank, "/")
	return t
}

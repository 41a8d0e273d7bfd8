package openapi

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/galeserver/gale/server"
)

// Group is a group of routes: one that an application can switch off, or the application's
// own routes.
type Group struct {
	Name        string // name of the tag
	Description string
	Prefix      string // prefix of the paths of Routes; empty for none
	Routes      []server.Route
	// Operations describe the routes by method and path, such as "GET /tasks/{id}". A
	// catch-all route may have several, each with a Path of its own.
	Operations map[string][]Operation
	// Refused are routes, by method and path, that exist only to send a 405 response of
	// their protocol. They are not in the document.
	Refused []string
	// Types are the schemas that Operations refer to. Several groups may have the same
	// type.
	Types []Type
}

// Access is the permission that a request needs.
type Access int

// The kinds of access. Open needs no permission.
const (
	Open      Access = iota
	SameSite         // not sent by a page of an origin that is not allowed
	Read             // the token or a console session
	Write            // Read and SameSite
	Handshake        // Write; a WebSocket may send the token as a subprotocol
)

// Operation describes a route. Summary is a phrase without a full stop. Description has one
// to three short sentences.
type Operation struct {
	// Path is the template of the path if it differs from the path of the route.
	Path string `json:"-"`
	// Access determines Security and the responses 401 and 403.
	Access Access `json:"-"`
	// Problems are other statuses whose body is an Error.
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

// key returns the key of a route in Operations and Refused.
func key(r server.Route) string { return r.Method + " " + r.Path }

// Own returns the group of an application's routes. Only the table of routes is known of
// them. If a group in taken has the same name, the new group gets another one.
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
			Description: "The application handles this request; its body and its responses are not described here.",
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

// ownID returns an operationId of letters, digits and underscores. It contains an
// underscore, so it differs from those of the platform's operations.
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
	shape  string // path without the names of parameters
	params []Parameter
}

// template parses the path of a route, which server.New has validated.
func template(path string) (t pathTemplate) {
	var named, blank []string
	for segment := range strings.SplitSeq(path, "/") { // braces contain no slash
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

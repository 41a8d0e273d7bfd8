package openapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/galeserver/gale/server"
)

// Options describe the server as a whole.
type Options struct {
	Title       string
	Description string
	Version     string // version of the program
	Token       bool   // whether a token is set, so that operations require it as their Access says
	Cookie      string // name of the cookie of a console session
}

// Build returns the document that describes the routes of groups. The error names each
// route without a description and each description without a route.
func Build(o Options, groups []Group) (*Document, error) {
	b := builder{token: o.Token, shapes: map[string]pathTemplate{}}
	b.doc = &Document{
		OpenAPI: Version, Info: Info{Title: o.Title, Description: o.Description, Version: o.Version},
		Servers: []Server{{URL: "/"}}, Tags: []Tag{}, Paths: map[string]PathItem{},
		Components: Components{Responses: map[string]*Response{}},
	}
	types := []Type{errorType}
	var faults []error
	for _, g := range groups {
		faults = append(faults, b.group(g)...)
		for _, t := range g.Types {
			if !slices.ContainsFunc(types, func(other Type) bool { return other.Name == t.Name }) {
				types = append(types, t)
			}
		}
	}
	if o.Token {
		b.doc.Components.SecuritySchemes = securitySchemes(o.Cookie)
	}
	var err error
	b.doc.Components.Schemas, err = schemas(types)
	return b.doc, errors.Join(append(faults, err)...)
}

// builder holds a document while Build creates it.
type builder struct {
	doc    *Document
	token  bool
	shapes map[string]pathTemplate // templates of the paths in doc, by shape
}

func (b *builder) group(g Group) (faults []error) {
	described := maps.Clone(g.Operations)
	for _, r := range g.Routes {
		operations := described[key(r)]
		delete(described, key(r))
		if len(operations) == 0 && !slices.Contains(g.Refused, key(r)) {
			faults = append(faults, fmt.Errorf("the route %s has no description", key(r)))
		}
		for _, op := range operations {
			if op.Path == "" {
				op.Path = r.Path
			}
			op.Path = g.Prefix + op.Path
			op.Tags = []string{g.Name}
			if err := b.add(methodField(r.Method), op); err != nil {
				faults = append(faults, err)
			}
		}
	}
	for name := range described {
		faults = append(faults, fmt.Errorf("the description of %s has no route", name))
	}
	for _, name := range g.Refused {
		if !slices.ContainsFunc(g.Routes, func(r server.Route) bool { return key(r) == name }) {
			faults = append(faults, fmt.Errorf("the refused route %s does not exist", name))
		}
	}
	if len(g.Routes) > 0 {
		b.doc.Tags = append(b.doc.Tags, Tag{Name: g.Name, Description: g.Description})
	}
	return faults
}

// add adds an operation to its path. For OpenAPI, templates that differ only in the names
// of parameters are the same path, so the second one gets the names of the first.
func (b *builder) add(method string, op Operation) error {
	t := template(op.Path)
	if first, ok := b.shapes[t.shape]; ok {
		t = first
	} else {
		b.shapes[t.shape] = t
		b.doc.Paths[t.path] = PathItem{}
	}
	item := b.doc.Paths[t.path]
	if item[method] != nil { // server.New refuses such routes
		return fmt.Errorf("two routes have the method and path %s %s", method, t.path)
	}
	op.Parameters = parameters(t, op.Parameters)
	described := op.Responses
	op.Responses = map[string]*Response{}
	maps.Copy(op.Responses, described) // a copy, because the table must not be changed
	b.secure(&op)
	b.refer(&op, op.Problems)
	item[method] = &op
	return nil
}

// parameters returns the parameters of a path and of its description. A described parameter
// of the path replaces that of the template.
func parameters(t pathTemplate, described []Parameter) []Parameter {
	all := slices.Clone(t.params)
	for _, p := range described {
		p.Required = p.Required || p.In == "path"
		at := slices.IndexFunc(all, func(other Parameter) bool { return other.In == p.In && other.Name == p.Name })
		if at < 0 {
			all = append(all, p)
		} else {
			all[at] = p
		}
	}
	return all
}

// Names of the security schemes.
const (
	tokenScheme       = "token"
	sessionScheme     = "session"
	subprotocolScheme = "subprotocol"
)

func securitySchemes(cookie string) map[string]SecurityScheme {
	return map[string]SecurityScheme{
		tokenScheme:   {Type: "http", Scheme: "bearer", Description: "The token of -token-file."},
		sessionScheme: {Type: "apiKey", In: "cookie", Name: cookie, Description: "A console session, which the login creates; it is valid only in requests from pages of this server."},
		subprotocolScheme: {
			Type: "apiKey", In: "header", Name: "Sec-WebSocket-Protocol",
			Description: "The token in the handshake of a WebSocket, as bearer.TOKEN, or in base64url as bearer64.TOKEN.",
		},
	}
}

// secure adds the security requirements of an operation, and the responses to requests
// that do not satisfy them.
func (b *builder) secure(op *Operation) {
	if op.Access == SameSite || op.Access == Write || op.Access == Handshake {
		b.refer(op, []int{http.StatusForbidden})
	}
	if !b.token || op.Access == Open || op.Access == SameSite {
		return
	}
	op.Security = []map[string][]string{{tokenScheme: {}}, {sessionScheme: {}}}
	if op.Access == Handshake {
		op.Security = append(op.Security, map[string][]string{subprotocolScheme: {}})
	}
	b.refer(op, []int{http.StatusUnauthorized, http.StatusForbidden})
}

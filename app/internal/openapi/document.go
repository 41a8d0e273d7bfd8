// Package openapi describes HTTP routes as an OpenAPI 3.1 document
// (https://spec.openapis.org/oas/v3.1.1). The descriptions are Go tables in the package of
// the routes; schemas are generated from the types that handlers write as JSON.
package openapi

// Version is the version of the OpenAPI Specification that documents follow.
const Version = "3.1.1"

// Document is an OpenAPI document.
type Document struct {
	OpenAPI    string              `json:"openapi"`
	Info       Info                `json:"info"`
	Servers    []Server            `json:"servers"`
	Tags       []Tag               `json:"tags"`
	Paths      map[string]PathItem `json:"paths"`
	Components Components          `json:"components"`
}

// Info names the program that serves the routes.
type Info struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Version     string `json:"version"`
}

// Server is the address to which paths are appended.
type Server struct {
	URL string `json:"url"`
}

// Tag names a group of operations.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// PathItem holds the operations of a path by method, in lower case.
type PathItem map[string]*Operation

// Components are the parts of a document that operations refer to by name.
type Components struct {
	Schemas         map[string]*Schema        `json:"schemas"`
	Responses       map[string]*Response      `json:"responses"`
	SecuritySchemes map[string]SecurityScheme `json:"securitySchemes,omitempty"`
}

// Parameter is a value in the path, the query or a header field of a request.
type Parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"` // path, query or header
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"`
	Schema      *Schema `json:"schema"`
}

// RequestBody is the body of a request, by media type.
type RequestBody struct {
	Description string               `json:"description,omitempty"`
	Required    bool                 `json:"required,omitempty"`
	Content     map[string]MediaType `json:"content"`
}

// MediaType describes a body of one media type. A nil Schema means any bytes.
type MediaType struct {
	Schema *Schema `json:"schema,omitempty"`
}

// Response describes the responses with one status. Either only Ref is set, or only other
// fields.
type Response struct {
	Ref         string               `json:"$ref,omitempty"`
	Description string               `json:"description,omitempty"`
	Headers     map[string]Header    `json:"headers,omitempty"`
	Content     map[string]MediaType `json:"content,omitempty"`
}

// Header is a header field of a response.
type Header struct {
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"`
	Schema      *Schema `json:"schema"`
}

// SecurityScheme is a way to authenticate a request.
type SecurityScheme struct {
	Type        string `json:"type"` // http or apiKey
	Description string `json:"description,omitempty"`
	Scheme      string `json:"scheme,omitempty"` // for the type http
	In          string `json:"in,omitempty"`     // for the type apiKey: header or cookie
	Name        string `json:"name,omitempty"`   // for the type apiKey
}

// Schema is a JSON Schema in the dialect of OpenAPI 3.1. The zero value allows any value.
type Schema struct {
	Ref              string             `json:"$ref,omitempty"`
	Description      string             `json:"description,omitempty"`
	Type             any                `json:"type,omitempty"` // name of a type, or a list of names
	Format           string             `json:"format,omitempty"`
	Pattern          string             `json:"pattern,omitempty"`
	ContentMediaType string             `json:"contentMediaType,omitempty"`
	Const            any                `json:"const,omitempty"`
	Enum             []any              `json:"enum,omitempty"`
	Default          any                `json:"default,omitempty"`
	Minimum          *int               `json:"minimum,omitempty"`
	Maximum          *int               `json:"maximum,omitempty"`
	MinLength        int                `json:"minLength,omitempty"`
	MinItems         int                `json:"minItems,omitempty"`
	MaxItems         int                `json:"maxItems,omitempty"`
	Items            *Schema            `json:"items,omitempty"`
	Properties       map[string]*Schema `json:"properties,omitempty"`
	Required         []string           `json:"required,omitempty"`
	// AdditionalProperties is the schema of the members of an object that are not in
	// Properties; false allows none.
	AdditionalProperties any       `json:"additionalProperties,omitempty"`
	AnyOf                []*Schema `json:"anyOf,omitempty"`
	OneOf                []*Schema `json:"oneOf,omitempty"`
}

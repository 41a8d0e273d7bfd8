package routes

import (
	"slices"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// healthGroup is the group that cannot be switched off.
const healthGroup = "health"

// DescriptionGroup is the group of the description of all routes.
const DescriptionGroup = "openapi"

// descriptionPath is the path of the description of all routes.
const descriptionPath = "/openapi.json"

// platformText is the general part of the description.
const platformText = "Routes of a Gale server. Every route with GET also accepts HEAD, and every route accepts OPTIONS. " +
	"Every response has the header field X-Request-Id. Unless another body is described, an error has the schema Error."

// description serves the OpenAPI document of all routes. The first request creates the
// document, because most processes never serve it.
type description struct {
	encoded func() (*openapi.Encoded, error)
}

// of sets the routes to describe: groups of the platform, and the routes of the application.
func (p *description) of(d Deps, groups []openapi.Group) {
	o := openapi.Options{Title: d.Program, Description: platformText, Version: d.Version}
	if d.Guard.HasToken() {
		o.Token, o.Cookie = true, string(d.Guard.NewSession("https", "/").Key())
	}
	p.encoded = sync.OnceValues(func() (*openapi.Encoded, error) {
		document, err := openapi.Build(o, append(slices.Clone(groups), openapi.Own(d.Program, d.Own, groups)))
		if err != nil {
			return nil, err
		}
		return document.Encode()
	})
}

// serve is GET /openapi.json.
func (p *description) serve(ctx *fasthttp.RequestCtx) error {
	document, err := p.encoded()
	if err != nil {
		return err
	}
	address := strings.TrimSuffix(server.Location(ctx, "/"), "/")
	if address == "" {
		address = "/"
	}
	body, etag := document.At(address)
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderETag, etag)
	h.Set(fasthttp.HeaderCacheControl, "private, no-cache")
	if status := (validator{etag: etag}).precondition(&ctx.Request.Header); status != 0 {
		ctx.SetStatusCode(status)
		return nil
	}
	ctx.Response.SetBodyRaw(body)
	return nil
}

// described returns the groups of the platform's routes that are not switched off.
func described(d Deps) []openapi.Group {
	all := []openapi.Group{describeHealth()}
	for _, g := range []openapi.Group{describeUploads(), describeTus(), describeTasks(), describeWorkers(), describeChannels(), describeConsole(), describeStatic(), describeDescription()} {
		if !slices.Contains(d.Off, g.Name) {
			g.Prefix = d.Prefix
			all = append(all, g)
		}
	}
	return all
}

func describeHealth() openapi.Group {
	return openapi.Group{
		Name: healthGroup, Description: "State of the process that accepted the connection.",
		Operations: map[string][]openapi.Operation{
			"GET " + HealthPath: {{
				ID: "health", Summary: "Check that a serving process responds",
				Description: "The response describes only the process that accepted the connection, not the other processes.",
				Responses:   map[string]*openapi.Response{"200": openapi.Body("The process responds.", textPlain, openapi.Text())},
			}},
		},
	}
}

func describeDescription() openapi.Group {
	return openapi.Group{
		Name: DescriptionGroup, Description: "Description of the routes.",
		Operations: map[string][]openapi.Operation{
			"GET " + descriptionPath: {{
				ID: "describe", Access: openapi.Read, Summary: "Get the OpenAPI description of all routes",
				Description: "The document contains the platform's routes that are switched on and the routes of the application.",
				Responses: map[string]*openapi.Response{
					"200": openapi.JSON("An OpenAPI document.", &openapi.Schema{Type: "object", Required: []string{"openapi", "info", "paths"}}).With(map[string]string{"ETag": "Changes with the document."}),
					"304": notModified,
				},
			}},
		},
	}
}

// Media types of several descriptions.
const (
	textPlain = "text/plain"
	textHTML  = "text/html"
	anyBytes  = "*/*"
	formMedia = "application/x-www-form-urlencoded"
)

// Responses to conditions and ranges (RFC 9110 §13 and §14).
var (
	notModified   = openapi.Empty("The client's copy is current.")
	conditionFail = openapi.Empty("A condition in a header field of the request is false.")
	outOfRange    = openapi.JSON("The file has no such range.", openapi.Ref(openapi.ErrorName)).With(map[string]string{"Content-Range": "Size of the file, as bytes */SIZE."})
)

// fileResponses returns the responses of a route that sends a file.
func fileResponses() map[string]*openapi.Response {
	fields := map[string]string{"ETag": "Changes with the content.", "Last-Modified": "Time of the last change of the content."}
	partial := openapi.Body("The requested range of the file.", anyBytes, nil)
	return map[string]*openapi.Response{
		"200": openapi.Body("The file.", anyBytes, nil).With(fields),
		"206": partial.With(map[string]string{"Content-Range": "Range in the body and size of the file."}),
		"304": notModified, "412": conditionFail, "416": outOfRange,
	}
}

// redirectable adds the response of a file in object storage.
func redirectable(op openapi.Operation) openapi.Operation {
	op.Responses["302"] = openapi.Empty("The file is in object storage, and -files-redirect is set.").With(map[string]string{"Location": "URL of the file, which is valid for a time."})
	return op
}

// fileFields returns the header fields of a request for a file.
func fileFields() []openapi.Parameter {
	return []openapi.Parameter{
		openapi.Field("Range", "A range of bytes, such as bytes=0-99; a request with several ranges gets the whole file.", openapi.Text()),
		openapi.Field("If-None-Match", "ETags of the client's copies.", openapi.Text()),
	}
}

// withSocket adds the parameters and responses of the handshake of a WebSocket.
func withSocket(op openapi.Operation) openapi.Operation {
	fields, accepted := openapi.Socket()
	op.Parameters = append(op.Parameters, fields...)
	op.Responses = map[string]*openapi.Response{"101": accepted}
	op.Problems = append(op.Problems, fasthttp.StatusBadRequest, fasthttp.StatusUpgradeRequired, fasthttp.StatusServiceUnavailable)
	return op
}

func describeStatic() openapi.Group {
	return openapi.Group{
		Name: "static", Description: "Files in the folder of -static.",
		Operations: map[string][]openapi.Operation{
			"GET /static/{name:*}": {{
				ID: "getStaticFile", Summary: "Get a static file",
				Description: "A response to a request with a query may be cached for a year, because links to another content have another query.",
				Parameters:  append([]openapi.Parameter{openapi.Path("name", "Path of the file below -static; slashes in it may be sent as they are, or as %2F.")}, fileFields()...),
				Responses:   fileResponses(), Problems: []int{404},
			}},
		},
	}
}

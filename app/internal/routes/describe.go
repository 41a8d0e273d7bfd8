package routes

import (
	"slices"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// healthGroup is the group that is always on.
const healthGroup = "health"

// DescriptionGroup is the group of the description of all routes.
const DescriptionGroup = "openapi"

// descriptionPath is where the description of all routes is.
const descriptionPath = "/openapi.json"

// platformText is what the description says of all routes together.
const platformText = "Routes of a Gale server. HEAD is served wherever GET is, and OPTIONS everywhere. " +
	"Every response has X-Request-Id. An error without a body of its own kind has the schema Error."

// description serves the OpenAPI document of all routes. The document is made by the
// first request, since most processes never serve it.
type description struct {
	encoded func() (*openapi.Encoded, error)
}

// of sets what is described: groups of the platform, and the routes of the application.
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

// described returns the groups of the platform's routes that are not off.
func described(d Deps) []openapi.Group {
	all := []openapi.Group{describeHealth()}
	for _, g := range []openapi.Group{describeUploads(), describeTus(), describeTasks(), describeChannels(), describeConsole(), describeStatic(), describeDescription()} {
		if !slices.Contains(d.Off, g.Name) {
			g.Prefix = d.Prefix
			all = append(all, g)
		}
	}
	return all
}

func describeHealth() openapi.Group {
	return openapi.Group{
		Name: healthGroup, Description: "State of the process that has the connection.",
		Operations: map[string][]openapi.Operation{
			"GET " + HealthPath: {{
				ID: "health", Summary: "Check that a serving process responds",
				Description: "The response comes from the process that accepted the connection, and tells nothing about other processes.",
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
				Description: "The document names the routes of the platform that are on, and those of the application.",
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
	notModified   = openapi.Empty("The copy that the client has is current.")
	conditionFail = openapi.Empty("A condition in the head of the request does not hold.")
	outOfRange    = openapi.JSON("The file has no such range.", openapi.Ref(openapi.ErrorName)).With(map[string]string{"Content-Range": "Size of the file, as bytes */SIZE."})
)

// fileResponses are those of a route that sends a file.
func fileResponses() map[string]*openapi.Response {
	fields := map[string]string{"ETag": "Changes with the content.", "Last-Modified": "When the content changed last."}
	partial := openapi.Body("The part that Range asks for.", anyBytes, nil)
	return map[string]*openapi.Response{
		"200": openapi.Body("The file.", anyBytes, nil).With(fields),
		"206": partial.With(map[string]string{"Content-Range": "Positions of the part and size of the file."}),
		"304": notModified, "412": conditionFail, "416": outOfRange,
	}
}

// fileFields are fields of a request for a file.
func fileFields() []openapi.Parameter {
	return []openapi.Parameter{
		openapi.Field("Range", "One range of bytes, as bytes=0-99; several get the whole file.", openapi.Text()),
		openapi.Field("If-None-Match", "ETags of copies that the client has.", openapi.Text()),
	}
}

// withSocket completes the description of the handshake of a WebSocket.
func withSocket(op openapi.Operation) openapi.Operation {
	fields, accepted := openapi.Socket()
	op.Parameters = append(op.Parameters, fields...)
	op.Responses = map[string]*openapi.Response{"101": accepted}
	op.Problems = append(op.Problems, fasthttp.StatusBadRequest, fasthttp.StatusUpgradeRequired, fasthttp.StatusServiceUnavailable)
	return op
}

func describeStatic() openapi.Group {
	return openapi.Group{
		Name: "static", Description: "Files of the folder -static.",
		Operations: map[string][]openapi.Operation{
			"GET /static/{name:*}": {{
				ID: "getStaticFile", Summary: "Get a static file",
				Description: "With a query the response may be cached for ever, since the query changes with the file.",
				Parameters:  append([]openapi.Parameter{openapi.Path("name", "Path of the file below -static; slashes in it may be sent as they are, or as %2F.")}, fileFields()...),
				Responses:   fileResponses(), Problems: []int{404},
			}},
		},
	}
}

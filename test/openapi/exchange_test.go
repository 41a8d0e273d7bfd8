package openapi

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	validator "github.com/pb33f/libopenapi-validator"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
)

// exchange is a request and the status of its response.
type exchange struct {
	operation string // operationId of the description
	method    string
	path      string
	body      string
	fields    []string // of the request; one without a value is removed
	status    int
}

// conversation sends requests to a server and validates what comes back.
type conversation struct {
	*testing.T
	server    *apptest.Server
	validator validator.Validator
	document  document
	good, bad map[string]bool // operations with a validated response, by its kind
}

func converse(t *testing.T, p app.Platform, flags ...string) *conversation {
	t.Helper()
	s := startShop(t, p, flags...)
	text, v := fetch(t, s, p.Prefix+"/openapi.json")
	return &conversation{T: t, server: s, validator: v, document: decode(t, text), good: map[string]bool{}, bad: map[string]bool{}}
}

// operationOf returns the operation of an id.
func (c *conversation) operationOf(id string) (method, path string, op operation) {
	c.Helper()
	for path, item := range c.document.Paths {
		for method, op := range item {
			if op.OperationID == id {
				return method, path, op
			}
		}
	}
	c.Fatalf("the description has no operation %s", id)
	return "", "", operation{}
}

// send sends a request, validates the response and returns it with its body.
func (c *conversation) send(x exchange) (*http.Response, []byte) {
	c.Helper()
	method, _, op := c.operationOf(x.operation)
	if !strings.EqualFold(method, x.method) {
		c.Fatalf("%s: the method is %s, not %s", x.operation, method, x.method)
	}
	req, resp := request(c.T, c.server, x.method, x.path, x.body, x.fields...)
	body := read(c.T, resp)
	if resp.StatusCode != x.status {
		c.Errorf("%s: %d %s, want %d", x.operation, resp.StatusCode, body, x.status)
	}
	if op.Responses[strconv.Itoa(resp.StatusCode)] == nil {
		c.Errorf("%s: the status %d is not described", x.operation, resp.StatusCode)
	}
	// The body of this response is optional, which OpenAPI cannot say.
	optional := x.operation == "createResumableUpload" && resp.StatusCode == http.StatusCreated && len(body) == 0
	if valid, faults := c.validator.ValidateHttpResponse(req, resp); !valid && !optional {
		for _, f := range faults {
			c.Errorf("%s: response %d %s: %s", x.operation, resp.StatusCode, body, f.Error())
		}
	}
	if resp.StatusCode >= 400 {
		c.bad[x.operation] = true
		return resp, body
	}
	c.good[x.operation] = true
	req.Body = io.NopCloser(strings.NewReader(x.body))
	if valid, faults := c.validator.ValidateHttpRequest(req); !valid {
		for _, f := range faults {
			c.Errorf("%s: request %s %s: %s", x.operation, x.path, x.body, f.Error())
		}
	}
	return resp, body
}

// read reads a body and puts it back. Of an event stream it reads the first event; what
// follows 101 is not HTTP.
func read(t *testing.T, resp *http.Response) (body []byte) {
	t.Helper()
	var err error
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
	case resp.Header.Get("Content-Type") == "text/event-stream":
		for buffer := make([]byte, 1); err == nil && !bytes.HasSuffix(body, []byte("\n\n")); {
			_, err = io.ReadFull(resp.Body, buffer)
			body = append(body, buffer...)
		}
	default:
		body, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// unreadable sends a request that is refused on every route: two Authorization fields.
func (c *conversation) unreadable(id string) {
	c.Helper()
	method, path, op := c.operationOf(id)
	for _, p := range op.Parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", "a")
		}
	}
	req, err := http.NewRequestWithContext(c.Context(), strings.ToUpper(method), c.server.URL+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header["Authorization"] = []string{"Bearer " + secret, "Bearer another"}
	resp, err := c.server.Client.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	body := read(c.T, resp)
	valid, faults := c.validator.ValidateHttpResponse(req, resp)
	if resp.StatusCode != http.StatusBadRequest || !valid {
		c.Errorf("%s: %d %s %v", id, resp.StatusCode, body, faults)
	}
	c.bad[id] = true
}

// complete fails for each operation of the platform that has not been seen to succeed
// and to fail.
func (c *conversation) complete() {
	c.Helper()
	for _, item := range c.document.Paths {
		for _, op := range item {
			if slices.Contains(op.Tags, "shop") {
				continue
			}
			if !c.bad[op.OperationID] {
				c.unreadable(op.OperationID)
			}
			if !c.good[op.OperationID] {
				c.Errorf("no good response of %s has been validated", op.OperationID)
			}
		}
	}
}

// member returns a member of a JSON object, which must be a string.
func member(t *testing.T, body []byte, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	text, ok := all[name].(string)
	if !ok {
		t.Fatalf("no %s in %s of %v", name, body, slices.Sorted(maps.Keys(all)))
	}
	return text
}

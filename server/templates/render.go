package templates

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
)

// ErrPage is wrapped by the error of Render for a page that does not exist.
var ErrPage = errors.New("no such page")

// maxNamed is the number of pages that an error message names.
const maxNamed = 20

// Render executes the template of a page with data and makes the result the response,
// with a status and the content type text/html; charset=utf-8. If it returns an error,
// ctx.Response is unchanged; a handler returns the error, which becomes a 500 response.
// The error wraps ErrPage if there is no page of that name. A panic of a function or
// method that the template calls is an error, too.
//
// The name only selects one of the pages that New has read. No file is opened.
func (s *Set) Render(ctx *fasthttp.RequestCtx, status int, name string, data any) error {
	if s == nil {
		return fmt.Errorf("render %s: there are no templates: set Application.Templates or -templates", name)
	}
	p := s.pages[name]
	if p == nil {
		return fmt.Errorf("render %q: %w; there are: %s", name, ErrPage, s.someNames())
	}
	e, ok := p.idle.Get().(*execution)
	if !ok {
		var err error
		if e, err = p.newExecution(); err != nil {
			return fmt.Errorf("render %s: %w", name, err)
		}
	}
	var body bytes.Buffer
	e.ctx = ctx
	err := e.template.Execute(&body, data)
	e.ctx = nil
	p.idle.Put(e)
	if err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.Response.SetBodyRaw(s.withBodyEnd(ctx, body.Bytes()))
	return nil
}

// withBodyEnd returns body with the text of Options.BodyEnd before its last </body>, or
// at its end if there is none.
func (s *Set) withBodyEnd(ctx *fasthttp.RequestCtx, body []byte) []byte {
	if s.opts.BodyEnd == nil {
		return body
	}
	const tag = "</body>"
	at := len(body) - len(tag)
	for at >= 0 && !strings.EqualFold(string(body[at:at+len(tag)]), tag) {
		at--
	}
	if at < 0 {
		at = len(body)
	}
	return append(append(bytes.Clone(body[:at]), s.opts.BodyEnd(ctx)...), body[at:]...)
}

// someNames returns the names of the pages for an error message.
func (s *Set) someNames() string {
	names := s.Names()
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

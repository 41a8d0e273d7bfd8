package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/utf8text"
)

// checkArgs returns an error that names the first parameter whose name or value is not
// valid UTF-8. kind is what the error calls a parameter, such as "query parameter".
// Parameters named in binary may have any value.
func checkArgs(args *fasthttp.Args, kind string, binary ...string) error {
	for name, value := range args.All() {
		switch {
		case !utf8.Valid(name):
			return fmt.Errorf("the name of the %s %q is %w", kind, name, utf8text.ErrInvalid)
		case !utf8.Valid(value) && !slices.Contains(binary, string(name)):
			return fmt.Errorf("%s %q is %w", kind, name, utf8text.ErrInvalid)
		}
	}
	return nil
}

// ReadJSON is ReadAll for a JSON body. A body with invalid UTF-8, or with half of a
// surrogate pair, is a 400 whose reason names the member. It does not check that the
// body is JSON.
func ReadJSON(ctx *fasthttp.RequestCtx) ([]byte, error) {
	body, err := ReadAll(ctx)
	if err != nil {
		return nil, err
	}
	if err := utf8text.CheckJSON(body); err != nil {
		return nil, Fail(http.StatusBadRequest, "body: "+err.Error())
	}
	return body, nil
}

// checkTarget refuses a request whose path or query, decoded, is not valid UTF-8, so
// that handlers need not check it.
func checkTarget(target []byte) error {
	if bytes.IndexByte(target, '%') < 0 && utf8.Valid(target) {
		return nil // fast path
	}
	if path, err := url.PathUnescape(string(targetPath(target))); err == nil && !utf8.ValidString(path) {
		return badRequest("the path is " + utf8text.ErrInvalid.Error())
	}
	_, query, _ := bytes.Cut(target, []byte("?"))
	var args fasthttp.Args
	args.ParseBytes(query)
	if err := checkArgs(&args, "query parameter"); err != nil {
		return badRequest(err.Error())
	}
	return nil
}

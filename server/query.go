package server

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/duration"
)

// QueryText returns the value of a query parameter. given is false if the request does
// not have it; an empty parameter counts as given. If the parameter is repeated,
// QueryText returns the first value.
func QueryText(ctx *fasthttp.RequestCtx, name string) (text string, given bool) {
	args := ctx.QueryArgs()
	return string(args.Peek(name)), args.Has(name)
}

// QueryInt returns a query parameter as an integer from 0 to limit. If the parameter is
// missing, QueryInt returns value. The error is a 400 that names the parameter.
func QueryInt(ctx *fasthttp.RequestCtx, name string, value, limit int) (int, error) {
	text, given := QueryText(ctx, name)
	if !given {
		return value, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > limit {
		return 0, Fail(http.StatusBadRequest, fmt.Sprintf("%s: %q is not from 0 to %d", name, text, limit))
	}
	return n, nil
}

// QueryDuration returns a query parameter as a duration from 0 to limit: seconds, with
// decimals or without, or a Go duration such as 1m30s. It returns value if the
// parameter is missing. The error is a 400 that names the parameter.
func QueryDuration(ctx *fasthttp.RequestCtx, name string, value, limit time.Duration) (time.Duration, error) {
	text, given := QueryText(ctx, name)
	if !given {
		return value, nil
	}
	d, err := duration.Parse(text)
	if err != nil {
		d, err = duration.ParseSeconds(text)
	}
	if err != nil || d > limit {
		return 0, Fail(http.StatusBadRequest, fmt.Sprintf("%s: %q is not a time from 0 to %v, in seconds", name, text, limit))
	}
	return d, nil
}

// Argument returns a parameter of the query or of a urlencoded body, like Tornado's
// get_argument. If there are several values, it returns the last one; those of the body
// come after those of the query. The first call in a request reads the body. The error is
// a 400 if the body is not valid UTF-8, or one of Body's errors.
func Argument(ctx *fasthttp.RequestCtx, name string) (value string, given bool, err error) {
	form, err := formOf(ctx)
	if err != nil {
		return "", false, err
	}
	for _, args := range []*fasthttp.Args{ctx.QueryArgs(), form} {
		for k, v := range args.All() {
			if string(k) == name {
				value, given = string(v), true
			}
		}
	}
	return value, given, nil
}

// formKey is the user value under which a request keeps its parsed form.
type formKey struct{}

// formOf returns the urlencoded form in the body. It stores the form for further calls,
// because the body can be read only once.
func formOf(ctx *fasthttp.RequestCtx) (*fasthttp.Args, error) {
	if form, ok := ctx.UserValue(formKey{}).(*fasthttp.Args); ok {
		return form, nil
	}
	body, err := ReadAll(ctx)
	if err != nil {
		return nil, err
	}
	form, err := FormArgs(ctx, body)
	if err != nil {
		return nil, Fail(http.StatusBadRequest, err.Error())
	}
	ctx.SetUserValue(formKey{}, form)
	return form, nil
}

// FormArgs parses body if the request's type is a urlencoded form; otherwise it
// returns no fields. The error names a field that is not valid UTF-8. The fields named in
// binary may have any bytes as their values.
func FormArgs(ctx *fasthttp.RequestCtx, body []byte, binary ...string) (*fasthttp.Args, error) {
	var args fasthttp.Args
	kind, _, _ := bytes.Cut(ctx.Request.Header.ContentType(), []byte(";"))
	if strings.EqualFold(string(bytes.TrimSpace(kind)), "application/x-www-form-urlencoded") {
		args.ParseBytes(body)
	}
	return &args, checkArgs(&args, "form field", binary...)
}

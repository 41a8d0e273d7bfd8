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

// QueryText returns a parameter of the query, and whether it is there: an empty one
// is not a missing one. Of several the first counts.
func QueryText(ctx *fasthttp.RequestCtx, name string) (text string, given bool) {
	args := ctx.QueryArgs()
	return string(args.Peek(name)), args.Has(name)
}

// QueryInt returns a parameter of the query as a whole number from 0 to limit, and
// value if it is missing. The error is a 400 that names the parameter.
func QueryInt(ctx *fasthttp.RequestCtx, name string, value, limit int) (int, error) {
	text, given := QueryText(ctx, name)
	if !given {
		return value, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > limit {
		return 0, Fail(http.StatusBadRequest, fmt.Sprintf("%s: %q is not within 0 and %d", name, text, limit))
	}
	return n, nil
}

// QueryDuration returns a parameter of the query as a length of time from 0 to limit:
// seconds, decimal or not, or a Go duration such as 1m30s. It returns value if the
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
		return 0, Fail(http.StatusBadRequest, fmt.Sprintf("%s: %q is not within 0 and %v, in seconds", name, text, limit))
	}
	return d, nil
}

// Argument returns a parameter of the query or of a urlencoded body, as Tornado's
// get_argument does: the last one counts, those of the body after those of the query.
// It reads the body. The error is a 400 if the body's text is not valid UTF-8.
func Argument(ctx *fasthttp.RequestCtx, name string) (value string, given bool, err error) {
	body, err := ReadAll(ctx)
	if err != nil {
		return "", false, err
	}
	form, err := FormArgs(ctx, body)
	if err != nil {
		return "", false, Fail(http.StatusBadRequest, err.Error())
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

// FormArgs parses a body if it is a urlencoded form, else it returns none. The error
// names a field that is not valid UTF-8 and is not one of binary.
func FormArgs(ctx *fasthttp.RequestCtx, body []byte, binary ...string) (*fasthttp.Args, error) {
	var args fasthttp.Args
	kind, _, _ := bytes.Cut(ctx.Request.Header.ContentType(), []byte(";"))
	if strings.EqualFold(string(bytes.TrimSpace(kind)), "application/x-www-form-urlencoded") {
		args.ParseBytes(body)
	}
	return &args, checkArgs(&args, "form field", binary...)
}

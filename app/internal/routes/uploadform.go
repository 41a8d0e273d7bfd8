package routes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// urlencoded stores the field "body" of a urlencoded form under its fields "directory" and
// "filename". The whole form is in memory, so -max-body limits it.
func (u *uploadRoutes) urlencoded(ctx *fasthttp.RequestCtx, digests uploads.Digests) (uploads.Response, error) {
	body, err := server.ReadAll(ctx)
	if errors.Is(err, server.ErrBodyTooLarge) {
		err = uploads.WithReason(uploads.ErrTooLarge, "larger files must be sent as multipart/form-data")
	} else if err != nil {
		err = fmt.Errorf("%w: %w", uploads.ErrBody, err)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, digests.Reader(bytes.NewReader(body)))
	}
	if err != nil {
		return uploads.Response{}, err
	}
	given, err := arguments(ctx, body)
	if err == nil {
		err = given.need("directory", "filename", "body")
	}
	if err != nil {
		return uploads.Response{}, err
	}
	file, err := u.storeField(ctx, given["directory"], given["filename"], given["body"])
	if err != nil {
		return uploads.Response{}, err
	}
	return uploads.NewResponse(file), nil
}

// storeField stores a file from memory.
func (u *uploadRoutes) storeField(ctx *fasthttp.RequestCtx, directory, filename, content string) (uploads.File, error) {
	if err := uploads.CheckName(directory, filename); err != nil {
		return uploads.File{}, err
	}
	if ending := strings.ToLower(path.Ext(filename)); !slices.Contains(u.types, "*") && !slices.Contains(u.types, ending) {
		why := fmt.Sprintf("%q is not one of %s, see -upload-types", ending, strings.Join(u.types, " "))
		return uploads.File{}, uploads.WithReason(uploads.ErrFormat, why)
	}
	upload, permit, err := u.create(ctx, directory, filename, int64(len(content)))
	if err != nil {
		return uploads.File{}, err
	}
	defer upload.Discard()
	if _, err := upload.Write(ctx, []byte(content)); err != nil {
		return uploads.File{}, err
	}
	return upload.Publish(ctx, permit.Directory, permit.Filename)
}

// remove is DELETE /upload. Removing a file that does not exist is a success.
func (u *uploadRoutes) remove(ctx *fasthttp.RequestCtx) error {
	body, err := server.ReadAll(ctx)
	if err != nil {
		return err
	}
	given, err := arguments(ctx, body)
	if err == nil {
		err = given.need("directory", "filename")
	}
	if err == nil {
		err = u.store.Remove(ctx, given["directory"], given["filename"])
	}
	if err != nil {
		return u.refuse(ctx, err)
	}
	return u.respond(ctx, uploads.Response{Code: uploads.CodeStored, Reason: "OK"})
}

// parameters are the parameters of a request by name.
type parameters map[string]string

// arguments returns the parameters of the query and of a urlencoded body. If a name occurs
// more than once, the last value counts, as with Tornado's get_argument. The field "body",
// which is a file, may contain any bytes. Any other value that is not valid UTF-8 is an
// error that wraps uploads.ErrMalformed.
func arguments(ctx *fasthttp.RequestCtx, body []byte) (parameters, error) {
	form, err := server.FormArgs(ctx, body, "body")
	if err != nil {
		return nil, uploads.WithReason(uploads.ErrMalformed, err.Error())
	}
	given := parameters{}
	for _, args := range []*fasthttp.Args{ctx.QueryArgs(), form} {
		for k, v := range args.All() {
			given[string(k)] = string(v)
		}
	}
	return given, nil
}

// need returns an error wrapping uploads.ErrMissing if a parameter is missing or empty.
func (p parameters) need(names ...string) error {
	missing := slices.DeleteFunc(names, func(name string) bool { return p[name] != "" })
	if len(missing) == 0 {
		return nil
	}
	return uploads.WithReason(uploads.ErrMissing, strings.Join(missing, ", "))
}

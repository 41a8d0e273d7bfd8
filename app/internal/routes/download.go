package routes

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// get is GET /upload/{directory}/{filename}, and with nothing behind the last
// slash the list of the directory.
func (u *uploadRoutes) get(ctx *fasthttp.RequestCtx) error {
	directory, filename := path.Split(server.Param(ctx, "path"))
	directory = strings.TrimSuffix(directory, "/")
	switch {
	case filename == "":
		return u.list(ctx, directory)
	case directory == "":
		return server.Fail(fasthttp.StatusNotFound, "no such file; the address of a list ends in a slash")
	}
	f, err := u.store.Open(directory, filename)
	if err != nil {
		return absent(err, "no such file")
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	h := &ctx.Response.Header
	describe(h, filename)
	v := validatorOf(info)
	if sum, ok := u.store.Sum(f); ok {
		v.etag = `"` + sum + `"`
	}
	return send(ctx, f, info.Size(), v)
}

// describe says what a file is to a browser: something to be saved, whatever it
// holds. It came from a stranger, and on this origin it could do what the
// console can.
func describe(h *fasthttp.ResponseHeader, filename string) {
	kind := inline[strings.ToLower(path.Ext(filename))]
	if kind == "" {
		kind = "application/octet-stream"
	}
	h.SetContentType(kind)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderContentDisposition, attachment(filename))
	h.Set(fasthttp.HeaderContentSecurityPolicy, "sandbox; default-src 'none'")
	// It may be removed and another stored in its place: keep it, but ask.
	h.Set(fasthttp.HeaderCacheControl, "private, no-cache")
}

// send sends a file as the request's conditions and its Range demand, and closes it.
// Several ranges are answered with the whole, as RFC 9110 §14.2 allows.
func send(ctx *fasthttp.RequestCtx, f *os.File, size int64, v validator) error {
	h := &ctx.Response.Header
	v.write(h)
	if status := v.precondition(&ctx.Request.Header); status != 0 {
		ctx.SetStatusCode(status)
		return f.Close()
	}
	h.Set(fasthttp.HeaderAcceptRanges, "bytes")
	part, asked, err := byterange.Parse(&ctx.Request.Header, size)
	switch {
	case !asked || !v.inRange(&ctx.Request.Header):
		part = byterange.Range{Length: size}
	case err != nil || part.Length == 0:
		h.Set(fasthttp.HeaderContentRange, byterange.Unsatisfied(size))
		return errors.Join(unsatisfiable(ctx), f.Close())
	default:
		h.Set(fasthttp.HeaderContentRange, part.ContentRange(size))
		ctx.SetStatusCode(fasthttp.StatusPartialContent)
	}
	if _, err := f.Seek(part.Start, io.SeekStart); err != nil {
		return errors.Join(fmt.Errorf("read upload: %w", err), f.Close())
	}
	// Limited, since fasthttp breaks the connection of a stream that has more
	// than was said, as a file has that grows.
	ctx.SetBodyStream(struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, part.Length), f}, int(part.Length))
	return nil
}

// unsatisfiable is the answer to a range that is not in the file. It is written
// here since Content-Range, which it must have, is no part of a server.Error.
func unsatisfiable(ctx *fasthttp.RequestCtx) error {
	ctx.Response.Header.Del(fasthttp.HeaderContentDisposition)
	return server.WriteJSON(ctx, fasthttp.StatusRequestedRangeNotSatisfiable, map[string]any{
		"code": fasthttp.StatusRequestedRangeNotSatisfiable, "reason": "the file has no such range",
	})
}

// absent answers the errors of a look into the store: 404 with reason for what
// is not there, 400 for a name that nothing can have.
func absent(err error, reason string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return server.Fail(fasthttp.StatusNotFound, reason)
	case errors.Is(err, uploads.ErrName):
		return server.Fail(fasthttp.StatusBadRequest, uploads.ErrorResponse(err).Reason)
	}
	return err
}

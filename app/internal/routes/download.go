package routes

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// get is GET /upload/{directory}/{filename}. A path that ends with a slash lists the
// directory.
func (u *uploadRoutes) get(ctx *fasthttp.RequestCtx) error {
	directory, filename := path.Split(server.Param(ctx, "path"))
	directory = strings.TrimSuffix(directory, "/")
	switch {
	case filename == "":
		return u.list(ctx, directory)
	case directory == "":
		return server.Fail(fasthttp.StatusNotFound, "no such file; to list a directory, end the path with a slash")
	}
	f, err := u.store.Open(directory, filename)
	if err != nil {
		return absent(err, "no such file")
	}
	describe(&ctx.Response.Header, filename)
	info := f.Info()
	v := fileValidator(info)
	if r, ok := f.(uploads.Redirector); ok && u.redirect > 0 && ctx.IsGet() && v.precondition(&ctx.Request.Header) == 0 {
		return errors.Join(redirectTo(ctx, r, u.redirect, filename), f.Close())
	}
	return send(ctx, f, info.Size, v)
}

// redirectTo redirects the client to the object storage. The URL in the response gives access
// without the token for the time valid, so no cache may store it.
func redirectTo(ctx *fasthttp.RequestCtx, r uploads.Redirector, valid time.Duration, filename string) error {
	h := &ctx.Response.Header
	location, err := r.URL(ctx, valid, string(h.ContentType()), attachment(filename))
	if err != nil {
		return err
	}
	h.Del(fasthttp.HeaderContentDisposition)
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	h.Set(fasthttp.HeaderLocation, location)
	ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// describe sets header fields with which browsers save a file and do not display it. An
// uploaded HTML page would otherwise run scripts on the origin of the console.
func describe(h *fasthttp.ResponseHeader, filename string) {
	kind := inline[strings.ToLower(path.Ext(filename))]
	if kind == "" {
		kind = "application/octet-stream"
	}
	h.SetContentType(kind)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderContentDisposition, attachment(filename))
	h.Set(fasthttp.HeaderContentSecurityPolicy, "sandbox; default-src 'none'")
	// Caches must revalidate: the file may have been replaced by another one.
	h.Set(fasthttp.HeaderCacheControl, "private, no-cache")
}

// send sends a file, subject to the request's conditions and its Range, and closes it. A
// request with several ranges gets the whole file, as RFC 9110 section 14.2 allows.
func send(ctx *fasthttp.RequestCtx, f io.ReadSeekCloser, size int64, v validator) error {
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
	// The limit is for a file that grows: fasthttp closes the connection if a stream has
	// more bytes than announced.
	ctx.SetBodyStream(struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, part.Length), f}, int(part.Length))
	return nil
}

// unsatisfiable responds to a range outside of the file. A server.Error cannot have the
// field Content-Range, which this response needs.
func unsatisfiable(ctx *fasthttp.RequestCtx) error {
	ctx.Response.Header.Del(fasthttp.HeaderContentDisposition)
	return server.WriteJSON(ctx, fasthttp.StatusRequestedRangeNotSatisfiable, server.ErrorBody{
		Code: fasthttp.StatusRequestedRangeNotSatisfiable, Reason: "the range is outside of the file",
	})
}

// absent converts errors of the file store: a missing file becomes a 404 response with the
// given reason, and an invalid name a 400 response.
func absent(err error, reason string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return server.Fail(fasthttp.StatusNotFound, reason)
	case errors.Is(err, uploads.ErrName):
		return server.Fail(fasthttp.StatusBadRequest, uploads.ErrorResponse(err).Reason)
	}
	return err
}

package routes

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// put is PUT /upload/{directory}/{filename}: the body is the file. A file is never
// replaced, as if the request had If-None-Match: * (RFC 9110 §13.1.2), but a name in use
// gets the response of all uploads.
func (u *uploadRoutes) put(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	if len(h.Peek(fasthttp.HeaderIfMatch)) > 0 { // either no file has this name, or it stays as it is (RFC 9110 §13.1.1)
		return server.Fail(fasthttp.StatusPreconditionFailed, "PUT does not replace a file: send it without If-Match")
	}
	f, err := u.events.follow(ctx, h.ContentLength())
	if err != nil {
		return err
	}
	directory, filename := path.Split(server.Param(ctx, "path"))
	file, err := u.receive(ctx, strings.TrimSuffix(directory, "/"), filename, f)
	if err != nil {
		f.end(u.tasks.response(uploads.ErrorResponse(err)))
		return u.refuse(ctx, err)
	}
	f.end(u.tasks.response(uploads.NewResponse(file)))
	return u.respond(ctx, uploads.NewResponse(file))
}

// receive stores the body of a request. It checks everything that can be checked before it
// reads the body.
func (u *uploadRoutes) receive(ctx *fasthttp.RequestCtx, directory, filename string, f *followed) (uploads.File, error) {
	h := &ctx.Request.Header
	digests, err := announced(h)
	if err == nil && len(h.Peek(fasthttp.HeaderContentRange)) > 0 { // RFC 9110 §14.5
		err = uploads.WithReason(uploads.ErrMalformed, "PUT cannot store a part of a file: use /tus/")
	}
	if err != nil {
		return uploads.File{}, err
	}
	upload, permit, err := u.create(ctx, directory, filename, int64(h.ContentLength()))
	if err != nil {
		return uploads.File{}, err
	}
	defer upload.Discard()
	if _, err := upload.ReadFrom(ctx, digests.Reader(f.reader(requestBody{server.Body(ctx)}))); err != nil {
		return uploads.File{}, err
	}
	return upload.Publish(ctx, permit.Directory, permit.Filename)
}

// create decides about a file whose size is known, or is negative, and creates it.
func (u *uploadRoutes) create(ctx *fasthttp.RequestCtx, directory, filename string, size int64) (*uploads.Upload, uploads.Permit, error) {
	p, err := u.store.Admit(ctx, uploads.Proposal{Directory: directory, Filename: filename, Size: max(size, -1), Sender: senderOf(ctx)})
	if err == nil {
		err = u.store.Check(ctx, p.Directory, p.Filename)
	}
	if err != nil {
		return nil, p, err
	}
	upload, err := u.store.Create(ctx, p.Directory, p.Filename)
	if err != nil {
		return nil, p, err
	}
	upload.Apply(p)
	return upload, p, nil
}

// requestBody is a body whose errors wrap uploads.ErrBody.
type requestBody struct{ io.Reader }

func (b requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", uploads.ErrBody, err)
	}
	return n, err
}

// Command fileupload is a port of Tornado's demos/file_upload, two handlers that receive
// files: POST /post reads a form with any number of files, and PUT with any path reads one
// file. Both stream the body. They need little memory, whatever the size of a file is.
//
// They count and hash the bytes, and store nothing. Gale's own routes below /upload store
// files; this program has them as well.
//
//	go run ./docs/example/fileupload -port 8000
//	curl -F 'files=@cover.png' -F 'files=@notes.txt' http://127.0.0.1:8000/post
//	curl -T notes.txt -H 'Content-Type: text/plain' http://127.0.0.1:8000/notes.txt
//	curl -F 'texts=@notes.txt' http://127.0.0.1:8000/upload
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
)

const (
	maxStreamed = 1 << 30 // size limit of a request body in bytes
	maxFiles    = 1000    // limit of files in a form
)

func main() { app.Main(application()) }

func application() app.Application {
	return app.Application{Name: "fileupload", Routes: func(s *app.Services) ([]server.Route, error) {
		r := receiver{s.Log}
		return []server.Route{
			{Method: "POST", Path: "/post", Handler: r.form, MaxBody: maxStreamed},
			{Method: "PUT", Path: "/{filename:*}", Handler: r.raw, MaxBody: maxStreamed},
		}, nil
	}}
}

// received describes a file in the response.
type received struct {
	Filename string `json:"filename"`
	Type     string `json:"type"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

type receiver struct{ log *slog.Logger }

// raw reads one file, which is the whole body.
func (r receiver) raw(ctx *fasthttp.RequestCtx) error {
	file, err := r.read("PUT", server.Param(ctx, "filename"), string(ctx.Request.Header.ContentType()), server.Body(ctx))
	if err != nil {
		return err
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, file)
}

// form reads the files of a form, one after the other. Fields that are not files are
// skipped.
func (r receiver) form(ctx *fasthttp.RequestCtx) error {
	kind, params, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return server.Fail(fasthttp.StatusUnsupportedMediaType, "send multipart/form-data")
	}
	files := []received{}
	for parts := multipart.NewReader(server.Body(ctx), params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // a wrapped io.EOF means that the form has no end
			return server.WriteJSON(ctx, fasthttp.StatusOK, files)
		}
		if err != nil {
			return formError(err)
		}
		if part.FileName() == "" {
			continue
		}
		if len(files) == maxFiles {
			return server.Fail(fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("a form may have at most %d files", maxFiles))
		}
		// FileName removes folders from the name. A handler that stores files must
		// instead check the name as it was sent, as Gale's own routes do.
		file, err := r.read("POST", part.FileName(), part.Header.Get("Content-Type"), part)
		if err != nil {
			return formError(err)
		}
		files = append(files, file)
	}
}

// read reads a file to its end. Each piece is hashed as it arrives, so memory holds one
// piece at a time.
func (r receiver) read(method, filename, kind string, content io.Reader) (received, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, content)
	if err != nil {
		return received{}, err
	}
	r.log.Info("file received", "method", method, "filename", filename, "type", kind, "bytes", size)
	return received{filename, kind, size, hex.EncodeToString(sum.Sum(nil))}, nil
}

// formError returns the error for a form that could not be read. The errors of server.Body
// have their own statuses, such as 413 for a body that is too large.
func formError(err error) error {
	for _, own := range []error{server.ErrBodyTooLarge, server.ErrBodyTruncated, server.ErrBodyMalformed, server.ErrBodyTimeout} {
		if errors.Is(err, own) {
			return err
		}
	}
	return &server.Error{Status: fasthttp.StatusBadRequest, Reason: "the form is malformed", Err: err}
}

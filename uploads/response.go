package uploads

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"syscall"

	"github.com/galeserver/gale/pool"
)

// Codes of a Response and a File. They are not HTTP status codes, although they look
// like them: clients of the applications that Gale replaces rely on 500 to 504.
// Response.Status returns the HTTP status.
const (
	CodeStored   = 200
	CodePartial  = 206 // resumable upload that is not complete; never in the response to a form
	CodeInvalid  = 400 // unacceptable name, malformed form, wrong digest or incomplete body
	CodeRefused  = 403 // RefusalError, or over a quota
	CodeTooLarge = 413
	CodeInternal = 500
	CodeExists   = 501
	CodeNoFile   = 502
	CodeMissing  = 503
	CodeFormat   = 504
	CodeNoSpace  = 507
)

// File is the result for one file of a request.
type File struct {
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"`   // size in bytes; 0 if the file is not stored
	SHA256    string `json:"sha256"` // hexadecimal SHA-256; empty if the file is not stored
	Code      int    `json:"code"`
	Reason    string `json:"reason"` // "OK" or an error text for the client
	// ID is the id with which Options.Stored was called; empty if it was not called.
	ID string `json:"-"`
	// StoredErr is the error of Options.Stored. The file is stored all the same, and
	// Run calls Stored again.
	StoredErr error `json:"-"`
}

// Response is the result of an upload request.
type Response struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	Files  []File `json:"files"`
}

// NewFile returns the File for an upload that ended with err; nil means that it was
// stored. Size and SHA256 are left to the caller.
func NewFile(directory, filename string, err error) File {
	code, reason := codeAndReason(err)
	return File{Directory: directory, Filename: filename, Code: code, Reason: reason}
}

// failedFile is NewFile, and also logs internal errors, since the client gets no details of
// these.
func (s *Store) failedFile(ctx context.Context, directory, filename string, err error) File {
	f := NewFile(directory, filename, err)
	if f.Code == CodeInternal || f.Code == CodeNoSpace {
		s.log.ErrorContext(ctx, "upload failed", "directory", directory, "filename", filename,
			"code", f.Code, "error", err)
	}
	return f
}

// NewResponse returns the Response for a request with these files. Its code and reason
// are those of the last file that failed, or 200 and OK if none failed. Without files it
// is the response for ErrNoFile.
func NewResponse(files ...File) Response {
	if len(files) == 0 {
		return ErrorResponse(ErrNoFile)
	}
	r := Response{Code: CodeStored, Reason: "OK", Files: files}
	for _, f := range files {
		if f.Code != CodeStored {
			r.Code, r.Reason = f.Code, f.Reason
		}
	}
	return r
}

// ErrorResponse returns the Response for a request that failed as a whole with err. For
// an error that is not one of this package it is CodeInternal and "internal error"; the
// caller should log the text of err. If some errors need another response, such as 503 with Retry-After
// for pool.ErrFull, check err before the call.
func ErrorResponse(err error) Response {
	code, reason := codeAndReason(err)
	return Response{Code: code, Reason: reason, Files: []File{}}
}

// MarshalJSON encodes nil Files as [], not as null.
func (r Response) MarshalJSON() ([]byte, error) {
	type plain Response
	if r.Files == nil {
		r.Files = []File{}
	}
	return json.Marshal(plain(r))
}

// Status returns the HTTP status for the code.
func (r Response) Status() int {
	switch r.Code {
	case CodeExists:
		return http.StatusConflict
	case CodeNoFile, CodeMissing:
		return http.StatusBadRequest
	case CodeFormat:
		return http.StatusUnsupportedMediaType
	case CodeStored, CodeInternal, CodeNoSpace:
		return r.Code
	}
	if r.Code >= 400 && r.Code < 500 {
		return r.Code
	}
	return http.StatusInternalServerError
}

// codeAndReason maps an error to its code and the text for the client.
func codeAndReason(err error) (code int, reason string) {
	reason = "internal error"
	switch {
	case err == nil:
		return CodeStored, "OK"
	case isDiskFull(err):
		return CodeNoSpace, "no space left for uploads"
	case errors.Is(err, syscall.EFBIG):
		return CodeTooLarge, "too large: over the limit of the file system"
	case errors.Is(err, syscall.ENAMETOOLONG):
		return CodeInvalid, "unacceptable name: too long for the file system"
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrClosed):
		return CodeInternal, "too busy: try again later"
	case errors.Is(err, ErrUndecided):
		return CodeInternal, ErrUndecided.Error() + ": try again later"
	case errors.Is(err, ErrUnavailable):
		return CodeInternal, ErrUnavailable.Error() + ": try again later"
	case IsOutOfFiles(err):
		return CodeInternal, "too many open files: try again later"
	case errors.Is(err, ErrBody):
		return CodeInvalid, ErrBody.Error()
	}
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r.code(), r.Reason
	}
	for _, row := range []struct {
		kind error
		code int
	}{
		{ErrName, CodeInvalid}, {ErrMalformed, CodeInvalid}, {ErrDigest, CodeInvalid},
		{ErrTooLarge, CodeTooLarge}, {ErrQuota, CodeRefused}, {ErrExists, CodeExists},
		{ErrNoFile, CodeNoFile}, {ErrMissing, CodeMissing}, {ErrFormat, CodeFormat},
	} {
		if errors.Is(err, row.kind) {
			code, reason = row.code, row.kind.Error()
			if r, ok := errors.AsType[*reasonError](err); ok {
				reason = r.Error()
			}
			return code, reason
		}
	}
	return CodeInternal, reason
}

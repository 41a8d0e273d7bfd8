package uploads

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"syscall"

	"github.com/galeserver/gale/pool"
)

// The codes of Response and File. 200 and the five hundreds up to 504 are those
// of the applications that Gale replaces, and not HTTP's; Response.Status is.
const (
	CodeStored   = 200
	CodePartial  = 206 // unfinished: more bytes are expected; never the code of a form
	CodeInvalid  = 400 // unacceptable name, malformed form
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
	Size      int64  `json:"size"`   // bytes; 0 if not stored
	SHA256    string `json:"sha256"` // hexadecimal; empty if not stored
	Code      int    `json:"code"`
	Reason    string `json:"reason"` // OK, or why not, for the client
	// ID is what Options.Stored was called with; empty if it was not.
	ID string `json:"-"`
	// StoredErr is the error of Options.Stored: the file is stored, and Stored will
	// be called again. Nil if it succeeded.
	StoredErr error `json:"-"`
}

// Response is the result of an upload request.
type Response struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	Files  []File `json:"files"`
}

// NewFile is the File for an upload that err ended.
func NewFile(directory, filename string, err error) File {
	code, reason := codeAndReason(err)
	return File{Directory: directory, Filename: filename, Code: code, Reason: reason}
}

// failed is NewFile, and logs what the client must not see.
func (s *Store) failedFile(ctx context.Context, directory, filename string, err error) File {
	f := NewFile(directory, filename, err)
	if f.Code == CodeInternal || f.Code == CodeNoSpace {
		s.log.ErrorContext(ctx, "upload failed", "directory", directory, "filename", filename,
			"code", f.Code, "error", err)
	}
	return f
}

// NewResponse is the Response for a request of these files: its code and reason are
// those of the last that failed, else 200 and OK. No file at all is ErrNoFile.
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

// ErrorResponse is the Response for a request that err ended as a whole. An error from
// elsewhere is 500 and "internal error", its own text is for the log. A caller
// that has a response of its own for an error, such as 503 and Retry-After for
// pool.ErrFull, checks err first.
func ErrorResponse(err error) Response {
	code, reason := codeAndReason(err)
	return Response{Code: code, Reason: reason, Files: []File{}}
}

// MarshalJSON writes no files as [], not null.
func (r Response) MarshalJSON() ([]byte, error) {
	type plain Response
	if r.Files == nil {
		r.Files = []File{}
	}
	return json.Marshal(plain(r))
}

// Status is the HTTP status that says the same as the code.
func (r Response) Status() int {
	switch r.Code {
	case CodeExists:
		return http.StatusConflict
	case CodeNoFile, CodeMissing:
		return http.StatusBadRequest
	case CodeFormat:
		return http.StatusUnsupportedMediaType
	case CodeStored, CodeInvalid, CodeTooLarge, CodeInternal, CodeNoSpace:
		return r.Code
	}
	return http.StatusInternalServerError
}

// verdict is the one table from error to code. The reason is the error's own
// text only where that was written for clients.
func codeAndReason(err error) (code int, reason string) {
	reason = "internal error"
	switch {
	case err == nil:
		return CodeStored, "OK"
	case isDiskFull(err):
		return CodeNoSpace, "no space left for uploads"
	case errors.Is(err, syscall.EFBIG):
		return CodeTooLarge, "too large: more than the file system takes"
	case errors.Is(err, syscall.ENAMETOOLONG):
		return CodeInvalid, "unacceptable name: longer than the file system takes"
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrClosed):
		return CodeInternal, "too busy: try again later"
	case errors.Is(err, ErrBody):
		return CodeInvalid, ErrBody.Error()
	}
	for _, row := range []struct {
		kind error
		code int
	}{
		{ErrName, CodeInvalid}, {ErrMalformed, CodeInvalid}, {ErrDigest, CodeInvalid},
		{ErrTooLarge, CodeTooLarge}, {ErrExists, CodeExists},
		{ErrNoFile, CodeNoFile}, {ErrMissing, CodeMissing}, {ErrFormat, CodeFormat},
	} {
		if errors.Is(err, row.kind) {
			code, reason = row.code, row.kind.Error()
			if r, ok := errors.AsType[*refusal](err); ok {
				reason = r.Error()
			}
			return code, reason
		}
	}
	return CodeInternal, reason
}

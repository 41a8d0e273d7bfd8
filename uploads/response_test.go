package uploads

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/galeserver/gale/pool"
)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestCodes(t *testing.T) {
	for _, row := range []struct {
		err    error
		code   int
		status int
		reason string
	}{
		{nil, 200, 200, "OK"},
		{WithReason(ErrName, "why"), 400, 400, "unacceptable name: why"},
		{fmt.Errorf("open folder /secret: %w", WithReason(ErrName, "why")), 400, 400, "unacceptable name: why"},
		{fmt.Errorf("secret: %w", ErrMalformed), 400, 400, "malformed form"},
		{fmt.Errorf("%w: %w", ErrBody, errors.New("secret")), 400, 400, "incomplete request body"},
		{ErrTooLarge, 413, 413, "too large"},
		{&os.PathError{Op: "write", Path: "/secret", Err: syscall.EFBIG}, 413, 413, "too large: over the limit of the file system"},
		{&os.PathError{Op: "open", Path: "/secret", Err: syscall.ENAMETOOLONG}, 400, 400, "unacceptable name: too long for the file system"},
		{existsError("d", "a"), 501, 409, "already exists: d/a"},
		{ErrNoFile, 502, 400, "no file"},
		{WithReason(ErrMissing, "filename"), 503, 400, "missing argument: filename"},
		{WithReason(ErrFormat, ".exe"), 504, 415, "format not supported: .exe"},
		{&os.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC}, 507, 507, "no space left for uploads"},
		{syscall.EDQUOT, 507, 507, "no space left for uploads"},
		{errors.New("secret"), 500, 500, "internal error"},
		{&pool.PanicError{Value: "secret"}, 500, 500, "internal error"},
		{pool.ErrFull, 500, 500, "too busy: try again later"},
	} {
		resp := ErrorResponse(row.err)
		if resp.Code != row.code || resp.Status() != row.status || resp.Reason != row.reason {
			t.Errorf("%v: %d, %d, %q", row.err, resp.Code, resp.Status(), resp.Reason)
		}
	}
	if s := (Response{Code: 999}).Status(); s != 500 {
		t.Errorf("an unknown code: %d", s)
	}
}

func TestResponseAsJSON(t *testing.T) {
	for want, resp := range map[string]Response{
		`{"code":502,"reason":"no file","files":[]}`: NewResponse(),
		`{"code":0,"reason":"","files":[]}`:          {},
		`{"code":501,"reason":"already exists: d/b","files":[` +
			`{"directory":"d","filename":"a","size":1,"sha256":"ff","code":200,"reason":"OK"},` +
			`{"directory":"d","filename":"b","size":0,"sha256":"","code":501,"reason":"already exists: d/b"}]}`: NewResponse(
			File{"d", "a", 1, "ff", 200, "OK", "t1", nil}, NewFile("d", "b", existsError("d", "b"))),
	} {
		if got, err := json.Marshal(resp); err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
		if got, err := json.Marshal(&resp); err != nil || string(got) != want {
			t.Errorf("by pointer %s, %v", got, err)
		}
	}
}

package routes

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// validator holds the validators of a file's content (RFC 9110 section 8.8).
type validator struct {
	etag     string // strong if it is the SHA-256 of the content, else weak: W/"…"
	modified time.Time
}

// validatorOf returns the validator of a file whose SHA-256 is not known.
func validatorOf(modified time.Time, size int64) validator {
	return validator{etag: fmt.Sprintf(`W/"%x-%x"`, modified.UnixNano(), size), modified: modified}
}

// fileValidator returns the validator of a stored file.
func fileValidator(info uploads.Info) validator {
	v := validatorOf(info.Modified, info.Size)
	switch {
	case info.SHA256 != "":
		v.etag = `"` + info.SHA256 + `"`
	case info.Version != "":
		v.etag = `"` + info.Version + `"`
	}
	return v
}

func (v validator) weak() bool { return strings.HasPrefix(v.etag, "W/") }

func (v validator) write(h *fasthttp.ResponseHeader) {
	h.Set(fasthttp.HeaderETag, v.etag)
	h.Set(fasthttp.HeaderLastModified, v.modified.UTC().Format(http.TimeFormat))
	if raw, err := hex.DecodeString(strings.Trim(v.etag, `"`)); err == nil && !v.weak() {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(raw)+":") // RFC 9530
	}
}

// precondition evaluates the conditions of a GET request in the order of RFC 9110 section
// 13.2.2. It returns the status of the response, 412 or 304, or 0 to continue.
func (v validator) precondition(h *fasthttp.RequestHeader) int {
	if match := server.List(h, fasthttp.HeaderIfMatch); match != "" {
		if !v.among(match, false) {
			return fasthttp.StatusPreconditionFailed
		}
	} else if since, ok := date(h, fasthttp.HeaderIfUnmodifiedSince); ok && v.after(since) {
		return fasthttp.StatusPreconditionFailed
	}
	if match := server.List(h, fasthttp.HeaderIfNoneMatch); match != "" {
		if v.among(match, true) {
			return fasthttp.StatusNotModified
		}
	} else if since, ok := date(h, fasthttp.HeaderIfModifiedSince); ok && !v.after(since) {
		return fasthttp.StatusNotModified
	}
	return 0
}

// inRange reports whether the response to a Range request may be a part of the file: the
// request has no If-Range, or its condition is true (RFC 9110 section 13.1.5). If-Range
// uses the strong comparison.
func (v validator) inRange(h *fasthttp.RequestHeader) bool {
	condition, single := server.Single(h, fasthttp.HeaderIfRange)
	if !single {
		return false
	}
	if condition == "" || condition == v.etag && !v.weak() {
		return true
	}
	since, err := http.ParseTime(condition)
	return err == nil && since.Equal(v.modified.Truncate(time.Second))
}

// among reports whether the ETag is in a list, or the list is *. With weakly, it uses the
// weak comparison.
func (v validator) among(list string, weakly bool) bool {
	if list == "*" {
		return true
	}
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if weakly && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(v.etag, "W/") || tag == v.etag && !v.weak() {
			return true
		}
	}
	return false
}

func (v validator) after(since time.Time) bool {
	return v.modified.Truncate(time.Second).After(since)
}

func date(h *fasthttp.RequestHeader, name string) (time.Time, bool) {
	text, _ := server.Single(h, name)
	t, err := http.ParseTime(text)
	return t, err == nil
}

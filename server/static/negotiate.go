package static

import (
	"net/http"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/server"
)

// requestedRange returns the part of f that is requested. ranged is false if the response
// must be the complete file: without a valid Range, or with an If-Range that does not match
// (RFC 9110 §13.1.5). If part.Length is 0, the range is outside of the file.
func requestedRange(h *fasthttp.RequestHeader, f *file) (part byterange.Range, ranged bool) {
	condition, single := server.Single(h, fasthttp.HeaderIfRange)
	if !single || condition != "" && condition != f.etag() && condition != f.info.ModTime().UTC().Format(http.TimeFormat) {
		return byterange.Range{}, false
	}
	part, ranged, err := byterange.Parse(h, f.info.Size())
	return part, ranged && err == nil // a malformed Range is ignored
}

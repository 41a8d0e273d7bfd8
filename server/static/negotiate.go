package static

import (
	"net/http"
	"strconv"
	"strings"

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

// acceptsEncoding reports whether the value of Accept-Encoding accepts coding (RFC 9110
// §12.5.3): it contains coding with a weight other than 0, or, if it does not contain
// coding, it contains * with such a weight.
func acceptsEncoding(header, coding string) bool {
	acceptsAll := false
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		name = strings.TrimSpace(name)
		if !strings.EqualFold(name, coding) && name != "*" {
			continue
		}
		weight := 1.0
		if key, value, ok := strings.Cut(parameters, "="); ok && strings.EqualFold(strings.TrimSpace(key), "q") {
			var err error
			if weight, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
				weight = 0
			}
		}
		if name != "*" {
			return weight > 0
		}
		acceptsAll = weight > 0
	}
	return acceptsAll
}

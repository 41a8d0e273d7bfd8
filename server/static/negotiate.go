package static

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/server"
)

// requestedRange returns the part of f that a request asks for. asked is false if the
// response is the whole file, which includes an If-Range that does not match (RFC 9110
// §13.1.5). A length of 0 means that the range lies outside of the file.
func requestedRange(h *fasthttp.RequestHeader, f *file) (part byterange.Range, asked bool) {
	condition, single := server.Single(h, fasthttp.HeaderIfRange)
	if !single || condition != "" && condition != f.etag() && condition != f.info.ModTime().UTC().Format(http.TimeFormat) {
		return byterange.Range{}, false
	}
	part, asked, err := byterange.Parse(h, f.info.Size())
	return part, asked && err == nil // a malformed Range is ignored
}

// acceptsEncoding reports whether an Accept-Encoding accepts coding (RFC 9110
// §12.5.3): it names the coding or *, with a weight other than 0.
func acceptsEncoding(header, coding string) bool {
	everything := false
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
		everything = weight > 0
	}
	return everything
}

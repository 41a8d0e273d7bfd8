package static

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/byterange"
	"github.com/galeserver/gale/server"
)

// wanted returns the part of f that a request asks for; asked is false if it is
// the whole. An If-Range that does not hold makes it the whole too (RFC 9110
// §13.1.5). A length of 0 is a part that there is not.
func requestedRange(h *fasthttp.RequestHeader, f *file) (part byterange.Range, asked bool) {
	condition, single := server.Single(h, fasthttp.HeaderIfRange)
	if !single || condition != "" && condition != f.etag() && condition != f.info.ModTime().UTC().Format(http.TimeFormat) {
		return byterange.Range{}, false
	}
	part, asked, err := byterange.Parse(h, f.info.Size())
	return part, asked && err == nil // what is malformed is ignored
}

// accepts reports whether an Accept-Encoding takes coding (RFC 9110 §12.5.3): it is
// named, or everything is, and not with a weight of 0.
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

package limit

import (
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// policy is the name of the limit in the RateLimit fields.
const policy = "client"

// WriteHeader sets the fields of draft-ietf-httpapi-ratelimit-headers-10 and, for a
// refused request, Retry-After (RFC 9110 §10.2.3).
func (d Decision) WriteHeader(h *fasthttp.ResponseHeader) {
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", policy, d.Limit, seconds(d.Window)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", policy, d.Remaining, seconds(d.RetryAfter)))
	if !d.Granted {
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(seconds(d.RetryAfter)))
	}
}

// seconds rounds up, so that a client that waits for the result does not retry too early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

package access

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// If the server serves TLS, a page loaded by http has another origin.
func TestPagesOfAServerWithTLS(t *testing.T) {
	t.Parallel()
	for origin, allowed := range map[string]bool{"https://shop.example": true, "https://shop.example:443": true, "http://shop.example": false} {
		var h fasthttp.RequestHeader
		h.SetHost("shop.example")
		h.Set("Origin", origin)
		guard := New(Options{HTTPS: true})
		if _, err := guard.Write(&h); (err == nil) != allowed {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

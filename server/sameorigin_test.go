package server_test

import (
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	const said = "X-Forwarded-Proto"
	for _, row := range []struct {
		host, origin, field, value string
		https, want                bool
	}{
		{host: "h", origin: "http://h", want: true},
		{host: "h", origin: "https://h", want: true}, // TLS may end at a proxy that does not say so
		{host: "h", origin: "https://h", https: true, want: true},
		{host: "h", origin: "https://h", field: said, value: "https", want: true},
		{host: "h", origin: "https://h", field: said, value: "http", want: true},
		{host: "h", origin: "http://h", field: said, value: "http", want: true},
		{host: "h", origin: "http://h", https: true},
		{host: "h", origin: "http://h", field: said, value: "https"},
		{host: "h", origin: "http://h", field: said, value: "http, https"},
		{host: "h", origin: "http://h", field: "X-Scheme", value: "https"},

		{host: "h:443", origin: "https://h", want: true},
		{host: "h", origin: "https://h:443", want: true},
		{host: "h:443", origin: "https://h", https: true, want: true},
		{host: "h:80", origin: "http://h", want: true},
		{host: "h", origin: "http://h:80", want: true},
		{host: "h:", origin: "http://h", want: true},
		{host: "h:443", origin: "http://h"},
		{host: "h:80", origin: "https://h"},
		{host: "h", origin: "http://h:443"},
		{host: "h:8080", origin: "http://h:8080", want: true},
		{host: "h:8080", origin: "https://h:8080", want: true},
		{host: "h:8080", origin: "http://h:8081"},
		{host: "h:8080", origin: "http://h"},

		{host: "Shop.Example", origin: "https://shop.example", want: true},
		{host: "shop.example", origin: "HTTPS://SHOP.EXAMPLE", want: true},
		{host: "shop.example.", origin: "https://shop.example.", want: true},
		{host: "shop.example", origin: "https://shop.example."}, // two origins to a browser
		{host: "shop.example", origin: "https://shop.example.evil"},
		{host: "shop.example", origin: "https://evil.example"},
		{host: "[::1]", origin: "http://[::1]", want: true},
		{host: "[::1]:80", origin: "http://[::1]", want: true},
		{host: "[0:0:0:0:0:0:0:1]:8888", origin: "http://[::1]:8888", want: true},
		{host: "[2001:DB8::1]", origin: "http://[2001:db8::1]:80", want: true},
		{host: "[::1]:8888", origin: "http://[::1]"},
		{host: "[::1]", origin: "http://[::2]"},
		{host: "127.0.0.1:8888", origin: "http://127.0.0.1:8888", want: true},
		{host: "127.0.0.1:8888", origin: "http://localhost:8888"},

		{host: "h", origin: "ws://h", want: true},
		{host: "h:443", origin: "wss://h", want: true},
		{host: "h", origin: "ws://h", https: true},
		{host: "h", origin: "null"},
		{host: "h", origin: "h"},
		{host: "h", origin: "file://h"},
		{host: "h", origin: "http://"},
		{host: "", origin: "http://"},
		{host: "h", origin: "http://h/"},
		{host: "h", origin: "http://h/x"},
		{host: "h", origin: "http://h?x"},
		{host: "h", origin: "http://u@h"},
		{host: "u@h", origin: "http://u@h"},
		{host: "h", origin: "http://h, http://evil"},
		{host: "h", origin: "http://h:x"},
	} {
		var h fasthttp.RequestHeader
		h.SetHost(row.host)
		if row.field != "" {
			h.Set(row.field, row.value)
		}
		if got := server.SameOrigin(&h, row.origin, row.https); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

package server

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/contentcoding"
)

const (
	// minCompress is the length in bytes from which on a body is compressed. A shorter
	// one fits into one packet anyway.
	minCompress = 1 << 10

	defaultMaxCompress   = 1 << 20
	defaultCompressLevel = 4
)

// Compression configures the compression of response bodies. The zero value is off.
//
// A body is compressed if the client accepts one of Codings (RFC 9110 §12.5.3), if its
// media type is text, JSON, XML, JavaScript, WebAssembly or SVG, and if it has 1 KiB or
// more. Not compressed are
//   - responses with Content-Encoding, Content-Range, Accept-Ranges: bytes, a digest, or
//     Cache-Control: no-transform;
//   - body streams, so bodies of more than 4 KiB from a handler of HTTP, event streams
//     and connections that were taken;
//   - responses to HEAD, and those with the status 204, 205, 206 or 304;
//   - responses that Route.Compress describes.
//
// All responses that could be compressed have Vary: Accept-Encoding, and so have 304
// responses. A strong ETag becomes weak when the body is compressed, since a strong one
// must not be the same for two codings (RFC 9110 §8.8.1). The weak comparison of
// If-None-Match finds it; If-Match and If-Range do not.
type Compression struct {
	// Codings are the codings that the server may use: gzip, br, zstd. If a client
	// accepts several with the same weight, it gets the first of them. Default: none,
	// and nothing is compressed.
	Codings []string
	// Level is from 1, which needs the least CPU time, to 9, which makes the smallest
	// bodies. Default 4.
	Level int
	// MaxBody is the length of the longest body that is compressed, in bytes: the
	// connection waits for the compression. Default 1 MiB.
	MaxBody int
}

// compressor compresses responses as Options.Compress says.
type compressor struct {
	encoder *contentcoding.Encoder
	codings []string
	maxBody int
}

// newCompressor returns nil if compression is off.
func newCompressor(o Compression) (*compressor, error) {
	if len(o.Codings) == 0 {
		return nil, nil
	}
	encoder, err := contentcoding.NewEncoder(cmp.Or(o.Level, defaultCompressLevel), o.Codings...)
	if err != nil {
		return nil, fmt.Errorf("compression: %w", err)
	}
	if o.MaxBody < 0 {
		return nil, fmt.Errorf("compression: the longest body has %d bytes", o.MaxBody)
	}
	return &compressor{encoder: encoder, codings: slices.Clone(o.Codings), maxBody: cmp.Or(o.MaxBody, defaultMaxCompress)}, nil
}

// apply compresses the response if the client accepts that. r may be nil.
func (z *compressor) apply(ctx *fasthttp.RequestCtx, r *Route) {
	if z == nil || ctx.Hijacked() {
		return
	}
	response, h := &ctx.Response, &ctx.Response.Header
	if response.StatusCode() == http.StatusNotModified {
		z.notModified(ctx)
		return
	}
	if !z.compressible(ctx) {
		return
	}
	addVary(h, fasthttp.HeaderAcceptEncoding)
	if ctx.IsHead() || (r == nil || !r.Compress) && (carriesSecrets(ctx) || r != nil && r.writable && isStrong(h.Peek(fasthttp.HeaderETag))) {
		return
	}
	accepted := contentcoding.Accepted(List(&ctx.Request.Header, fasthttp.HeaderAcceptEncoding), z.codings...)
	if len(accepted) == 0 {
		return
	}
	body := response.Body()
	encoded := z.encoder.Encode(accepted[0], body)
	if len(encoded) >= len(body) {
		return
	}
	response.SetBodyRaw(encoded)
	h.SetContentEncoding(accepted[0])
	weaken(h)
}

// compressible reports whether the response could be compressed for some client.
func (z *compressor) compressible(ctx *fasthttp.RequestCtx) bool {
	response, h := &ctx.Response, &ctx.Response.Header
	switch response.StatusCode() {
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return false
	}
	if response.IsBodyStream() || response.SkipBody || response.StatusCode() < http.StatusOK {
		return false
	}
	size := len(response.Body())
	if size == 0 && ctx.IsHead() {
		size = h.ContentLength() // the handler may have set it without a body
	}
	kind := string(h.ContentType())
	return size >= minCompress && size <= z.maxBody && contentcoding.Compressible(kind) && !strings.HasPrefix(kind, EventStream) && transformable(h)
}

// describing are fields about the bytes of a body as the handler has written it.
var describing = []string{fasthttp.HeaderContentEncoding, fasthttp.HeaderContentRange, "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"}

// transformable reports whether the header lets the server change the coding of the body.
// The parts of a representation that can be requested by Range are those of the
// uncompressed one.
func transformable(h *fasthttp.ResponseHeader) bool {
	for _, name := range describing {
		if len(h.Peek(name)) > 0 {
			return false
		}
	}
	for _, line := range h.PeekAll(fasthttp.HeaderCacheControl) {
		if hasToken(line, "no-transform") { // RFC 9111 §5.2.2.6
			return false
		}
	}
	return !hasToken(h.Peek(fasthttp.HeaderAcceptRanges), "bytes")
}

// carriesSecrets reports whether the request or the response has credentials that a
// browser sends by itself. The body may then hold a secret beside text that an attacker
// has chosen, and its compressed length shows whether the two are equal in part: BREACH,
// Gluck, Harris and Prado, Black Hat USA 2013, https://breachattack.com.
func carriesSecrets(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	return len(h.Peek(fasthttp.HeaderCookie)) > 0 || len(h.Peek(fasthttp.HeaderAuthorization)) > 0 ||
		len(ctx.Response.Header.Peek(fasthttp.HeaderSetCookie)) > 0
}

// notModified makes the fields of a 304 response those of the 200 response that the client
// has: a cache must not use a 304 with another strong tag (RFC 9111 §4.3.4).
func (z *compressor) notModified(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	if kind := string(h.ContentType()); !transformable(h) || kind != "" && !contentcoding.Compressible(kind) {
		return
	}
	addVary(h, fasthttp.HeaderAcceptEncoding)
	tag := h.Peek(fasthttp.HeaderETag)
	if !isStrong(tag) {
		return
	}
	weak := "W/" + string(tag)
	for has := range strings.SplitSeq(List(&ctx.Request.Header, fasthttp.HeaderIfNoneMatch), ",") {
		if strings.TrimSpace(has) == weak {
			weaken(h)
			return
		}
	}
}

func isStrong(tag []byte) bool { return len(tag) > 0 && tag[0] == '"' }

// weaken makes a strong ETag weak.
func weaken(h *fasthttp.ResponseHeader) {
	if tag := h.Peek(fasthttp.HeaderETag); isStrong(tag) {
		h.Set(fasthttp.HeaderETag, "W/"+string(tag))
	}
}

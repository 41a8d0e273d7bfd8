package server

import (
	"bytes"
	"math"
	"net/http"

	"github.com/valyala/fasthttp"
)

const (
	// lengthChunked and lengthUnknown are values of frame.length.
	lengthChunked = -1
	lengthUnknown = -3

	// lengthNone is fasthttp's value for a head without a length.
	lengthNone = -2

	// lengthRaw is the length that preview sets for a chunked body, so that fasthttp
	// passes on the raw bytes and the strict decoder reads the framing. A request
	// with this Content-Length is refused.
	lengthRaw = math.MaxInt
)

// frame is the framing of a request: the length of its body and the end of the
// connection, according to its head.
type frame struct {
	length int64 // of the body in bytes, lengthChunked, or lengthUnknown for a malformed head
	expect bool  // the client sent Expect: 100-continue
	close  bool  // the client sends no further request on this connection
}

// hasBody reports whether a body follows the head.
func (f frame) hasBody() bool { return f.length != 0 }

// readFrame reads the framing of a request from the raw head, not from fasthttp's
// fields. fasthttp itself refuses a repeated Content-Length, a repeated or unknown
// Transfer-Encoding, spaces before the colon and control characters. readFrame refuses
// what fasthttp accepts although a proxy in front of this server may read it
// differently:
//
//   - versions other than HTTP/1.0 and HTTP/1.1: 505;
//   - Transfer-Encoding together with Content-Length (RFC 9112 §6.3): 400;
//   - Transfer-Encoding: identity (removed in RFC 7230): 501;
//   - lines that end in a bare LF (§2.2), folded lines (§5.2), and a space in a
//     field name (§5.1): 400;
//   - a repeated Authorization, Content-Type or Origin, since a proxy may use another
//     one of the values than this server (RFC 9110 §5.3): 400.
func readFrame(h *fasthttp.RequestHeader) (frame, error) {
	f := frame{length: lengthUnknown, close: h.ConnectionClose()}
	switch string(h.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return f, Fail(http.StatusHTTPVersionNotSupported, "the only supported versions are HTTP/1.0 and HTTP/1.1")
	}
	var fields framingFields
	for raw := h.RawHeaders(); len(raw) > 0; {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return f, badRequest(errLineEnd.Error())
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			break
		}
		if err := fields.add(line); err != nil {
			return f, err
		}
	}
	length, err := fields.length(h)
	if err != nil {
		return f, err
	}
	f.length = length
	f.expect = fields.expect && h.IsHTTP11() // RFC 9110 §10.1.1: ignored in HTTP/1.0
	f.close = f.close || fields.close
	return f, nil
}

// framingFields collects the header fields that determine the end of a request, and
// counts the fields that must not be repeated.
type framingFields struct {
	lengths, codings      int    // occurrences of Content-Length and Transfer-Encoding
	credentials, origins  int    // occurrences of Authorization and Origin
	types                 int    // occurrences of Content-Type
	contentLength, coding []byte // last values of Content-Length and Transfer-Encoding
	expect, close         bool
}

// add reads one line of a head, without its CRLF.
func (fields *framingFields) add(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || line[0] == '\t' || bytes.IndexByte(line[:colon], ' ') >= 0 {
		return badRequest("a folded line, or a space in a field name")
	}
	name := line[:colon]
	switch line[0] | 0x20 { // fast path: most fields do not matter here
	case 'a':
		return countField(name, fasthttp.HeaderAuthorization, &fields.credentials)
	case 'o':
		return countField(name, fasthttp.HeaderOrigin, &fields.origins)
	case 'c':
		switch {
		case isName(name, fasthttp.HeaderContentType):
			return countField(name, fasthttp.HeaderContentType, &fields.types)
		case isName(name, fasthttp.HeaderContentLength):
			fields.lengths++
			fields.contentLength = bytes.Trim(line[colon+1:], " \t")
		case isName(name, fasthttp.HeaderConnection):
			fields.close = fields.close || hasToken(line[colon+1:], "close")
		}
	case 't':
		if isName(name, fasthttp.HeaderTransferEncoding) {
			fields.codings++
			fields.coding = bytes.Trim(line[colon+1:], " \t")
		}
	case 'e':
		if isName(name, fasthttp.HeaderExpect) {
			fields.expect = fields.expect || hasToken(line[colon+1:], "100-continue")
		}
	}
	return nil
}

// countField counts an occurrence of field, which must not be repeated.
func countField(name []byte, field string, count *int) error {
	if !isName(name, field) {
		return nil
	}
	if *count++; *count > 1 {
		return badRequest(field + " is repeated")
	}
	return nil
}

// length returns the length of the body by the rules of RFC 9112 §6.3.
func (fields *framingFields) length(h *fasthttp.RequestHeader) (int64, error) {
	switch {
	case fields.codings > 0 && fields.lengths > 0:
		return lengthUnknown, badRequest("both Transfer-Encoding and Content-Length")
	case fields.codings > 1 || fields.lengths > 1:
		return lengthUnknown, badRequest("Transfer-Encoding or Content-Length is repeated")
	case fields.codings == 1 && !h.IsHTTP11():
		return lengthUnknown, badRequest("Transfer-Encoding in HTTP/1.0")
	case fields.codings == 1 && !isName(fields.coding, "chunked"):
		return lengthUnknown, Fail(http.StatusNotImplemented, "the only supported transfer coding is chunked")
	case fields.codings == 1:
		return lengthChunked, nil
	case fields.lengths == 0:
		return 0, nil
	}
	n, err := fasthttp.ParseUint(fields.contentLength)
	if err != nil {
		return lengthUnknown, badRequest("Content-Length is not a number")
	}
	if n >= lengthRaw {
		return lengthUnknown, ErrBodyTooLarge
	}
	return int64(n), nil
}

func badRequest(reason string) error { return Fail(http.StatusBadRequest, reason) }

// isName reports whether b is name. It ignores case, as for all field names and
// codings.
func isName(b []byte, name string) bool {
	return len(b) == len(name) && bytes.EqualFold(b, []byte(name))
}

// hasToken reports whether a comma-separated list holds token.
func hasToken(list []byte, token string) bool {
	for item := range bytes.SplitSeq(list, []byte(",")) {
		if isName(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

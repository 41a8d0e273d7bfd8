package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// pair is the name, in its canonical form, and the value of a header field.
type pair struct{ name, value []byte }

// securityFields are header fields of every response. They forbid content sniffing and
// framing, and they keep the address of the page from other sites (no Referer). A
// handler that sends HTML must add its own Content-Security-Policy. Names and values
// are byte slices, so that no request has to convert them.
//
// Strict-Transport-Security is not among them: browsers apply it to the host for
// months, so the owner of the host name must decide.
var securityFields = [...]pair{
	{[]byte(fasthttp.HeaderXContentTypeOptions), []byte("nosniff")},
	{[]byte(fasthttp.HeaderXFrameOptions), []byte("DENY")},
	{[]byte(fasthttp.HeaderReferrerPolicy), []byte("same-origin")},
}

// ownFields are fields that depend on the single response, so that Options.Header cannot
// set them.
var ownFields = []string{
	fasthttp.HeaderConnection, fasthttp.HeaderContentEncoding, fasthttp.HeaderContentLength, fasthttp.HeaderContentRange, fasthttp.HeaderContentType,
	fasthttp.HeaderDate, fasthttp.HeaderETag, "Keep-Alive", fasthttp.HeaderLastModified, fasthttp.HeaderLocation, fasthttp.HeaderServer,
	fasthttp.HeaderSetCookie, fasthttp.HeaderTrailer, fasthttp.HeaderTransferEncoding, fasthttp.HeaderUpgrade, fasthttp.HeaderVary, headerRequestID,
}

// commonFields are the fields of every response, prepared once.
type commonFields struct {
	always  []pair // securityFields that Options.Header does not name; only Route.Header changes them
	unless  []pair // fields of Options.Header, for responses that do not have them
	onHTTPS []pair // the same, for responses over HTTPS only
}

// newCommonFields returns the fields of securityFields and header. The error names each
// field of header that is not allowed.
func newCommonFields(header [][2]string) (f commonFields, err error) {
	named := map[string]bool{}
	for _, field := range header {
		name, value := canonical(field[0]), field[1]
		if fault := checkField(name, value, named[name]); fault != nil {
			err = errors.Join(err, fmt.Errorf("header field %q: %w", field[0], fault))
			continue
		}
		named[name] = true
		switch p := (pair{[]byte(name), []byte(value)}); {
		case value == "":
		case name == fasthttp.HeaderStrictTransportSecurity:
			f.onHTTPS = append(f.onHTTPS, p)
		default:
			f.unless = append(f.unless, p)
		}
	}
	for _, p := range securityFields {
		if !named[string(p.name)] {
			f.always = append(f.always, p)
		}
	}
	return f, err
}

// checkField returns what is wrong with a field of Options.Header, whose name is in its
// canonical form.
func checkField(name, value string, repeated bool) error {
	isSame := func(own string) bool { return strings.EqualFold(own, name) }
	switch {
	case !ValidField(name):
		return errors.New("not the name of a header field")
	case slices.ContainsFunc(ownFields, isSame) || strings.HasPrefix(strings.ToLower(name), "access-control-"):
		return errors.New("depends on the single response, so it cannot be set for all")
	case repeated:
		return errors.New("is repeated")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return errors.New("the value has control characters")
	case strings.TrimSpace(value) != value:
		return errors.New("the value begins or ends with a space")
	case value == "" && !namesSecurityField([][2]string{{name}}):
		return errors.New("the value is empty")
	}
	return nil
}

// namesSecurityField reports whether a header has one of securityFields.
func namesSecurityField(header [][2]string) bool {
	return slices.ContainsFunc(header, func(field [2]string) bool {
		name := canonical(field[0])
		return slices.ContainsFunc(securityFields[:], func(p pair) bool { return string(p.name) == name })
	})
}

// canonical returns a name as fasthttp writes it.
func canonical(name string) string {
	return string(fasthttp.AppendNormalizedHeaderKey(nil, name))
}

// add adds the fields to a response. https says how the client has sent the request.
func (f *commonFields) add(h *fasthttp.ResponseHeader, https bool) {
	addMissing(h, f.unless)
	if https {
		addMissing(h, f.onHTTPS)
	}
	for i := range f.always {
		h.SetCanonical(f.always[i].name, f.always[i].value)
	}
}

func addMissing(h *fasthttp.ResponseHeader, fields []pair) {
	for i := range fields {
		if len(h.PeekCanonical(fields[i].name)) == 0 {
			h.SetCanonical(fields[i].name, fields[i].value)
		}
	}
}

// lines returns the fields as lines of a response that is made before there is a request.
// It has no page, so of securityFields only the first one matters.
func (f *commonFields) lines() string {
	var b strings.Builder
	for _, p := range f.always {
		if string(p.name) == fasthttp.HeaderXContentTypeOptions {
			fmt.Fprintf(&b, "%s: %s\r\n", p.name, p.value)
		}
	}
	for _, p := range f.unless {
		fmt.Fprintf(&b, "%s: %s\r\n", p.name, p.value)
	}
	return b.String()
}

package uploads

import (
	"errors"
	"strings"
	"testing"
)

func TestParseContentType(t *testing.T) {
	long := strings.Repeat("x", maxBoundary)
	for value, want := range map[string][2]string{
		"multipart/form-data; boundary=abc":                         {KindMultipart, "abc"},
		"multipart/form-data;boundary=*****":                        {KindMultipart, "*****"}, // a widespread snippet for Android
		"multipart/form-data; boundary====1===":                     {KindMultipart, "===1==="},
		`multipart/form-data; boundary="===1==="`:                   {KindMultipart, "===1==="},
		`multipart/form-data; boundary="gc0pJq0M:08jU534c0p"`:       {KindMultipart, "gc0pJq0M:08jU534c0p"}, // RFC 2046, section 5.1.1
		"multipart/form-data; boundary=gc0pJq0M:08jU534c0p":         {KindMultipart, "gc0pJq0M:08jU534c0p"},
		`multipart/form-data; boundary="a'()+_,-./:=? b"`:           {KindMultipart, "a'()+_,-./:=? b"}, // every character of RFC 2046
		"multipart/form-data; boundary=a'()+_,-./:=? b":             {KindMultipart, "a'()+_,-./:=? b"},
		`multipart/form-data; boundary="a;b"; charset=utf-8`:        {KindMultipart, "a;b"},
		`Multipart/Form-Data ; charset=utf-8 ; BOUNDARY = "abc" ;`:  {KindMultipart, "abc"},
		"multipart/form-data; secure; boundary=abc":                 {KindMultipart, "abc"},
		"multipart/form-data; boundary=ä":                           {KindMultipart, "ä"},
		"multipart/form-data; boundary=" + long:                     {KindMultipart, long},
		"multipart/form-data; boundary=----WebKitFormBoundaryx7Vb0": {KindMultipart, "----WebKitFormBoundaryx7Vb0"},
		"application/x-www-form-urlencoded":                         {KindURLEncoded, ""},
		"Application/X-WWW-Form-URLEncoded; charset=UTF-8":          {KindURLEncoded, ""},
		"text/plain; anything=\"":                                   {"text/plain", ""},
		"application/json":                                          {"application/json", ""},
	} {
		kind, boundary, err := ParseContentType(value)
		if err != nil || kind != want[0] || boundary != want[1] {
			t.Errorf("%s: %q, %q, %v; want %q", value, kind, boundary, err, want)
		}
	}
	for value, reason := range map[string]string{
		"multipart":                                           `the Content-Type "multipart" cannot be parsed`,
		"":                                                    `the Content-Type "" cannot be parsed`,
		"multipart/form data; boundary=x":                     "cannot be parsed",
		"/; boundary=x":                                       "cannot be parsed",
		"multipart/form-data, boundary=x":                     "cannot be parsed",
		strings.Repeat("x", 1000):                             `xxx..."`,
		"multipart/form-data":                                 "has no boundary",
		"multipart/form-data; boundary=":                      "has no boundary",
		"multipart/form-data; boundary":                       "has no boundary",
		`multipart/form-data; boundary=""`:                    "has no boundary",
		"multipart/form-data; boundary=a; boundary=b":         "the parameters of the Content-Type",
		`multipart/form-data; boundary="a`:                    "the parameters of the Content-Type",
		`multipart/form-data; boundary="a" b`:                 "the parameters of the Content-Type",
		`multipart/form-data; boundary="a "`:                  "the boundary in the Content-Type",
		"multipart/form-data; boundary=" + long + "x":         "longer than 1024 bytes",
		"multipart/form-data; boundary=a\tb\x01; charset=xyz": "control characters",
	} {
		_, _, err := ParseContentType(value)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v; want %q", value, err, reason)
		}
	}
}

// A form with any accepted boundary can be read.
func FuzzParseContentType(f *testing.F) {
	for _, seed := range []string{
		"multipart/form-data;boundary=*****", `multipart/form-data; boundary="===1==="; x`, "multipart/form-data; boundary=a b;",
		"a/b;", "multipart/form-data; a; b=; boundary=ä",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		kind, boundary, err := ParseContentType(value)
		if err != nil && !errors.Is(err, ErrMalformed) || err == nil && kind == "" {
			t.Fatalf("%q, %v", kind, err)
		}
		if err != nil || kind != KindMultipart {
			return
		}
		s := openStore(t, t.TempDir(), Options{})
		body := strings.ReplaceAll(formBody(filePart("d", "a", "content")), testBoundary, boundary)
		if resp, err := s.Multipart(t.Context(), strings.NewReader(body), boundary); err != nil || resp.Code != CodeStored {
			t.Errorf("%q: %+v, %v", boundary, resp, err)
		}
	})
}

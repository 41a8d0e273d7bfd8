package uploads

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// digestField returns the value of a Content-Digest for content.
func digestField(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func digestField512(content string) string {
	sum := sha512.Sum512([]byte(content))
	return "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestDigests(t *testing.T) {
	for _, row := range []struct {
		name   string
		fields []string
		parse  error
		read   error
	}{
		{"none", nil, nil, nil},
		{"right", []string{digestField("content")}, nil, nil},
		{"both right", []string{digestField("content") + ", " + digestField512("content")}, nil, nil},
		{"two fields, right", []string{digestField("content"), digestField512("content")}, nil, nil},
		{"wrong", []string{digestField("other")}, nil, ErrDigest},
		{"one of two wrong", []string{digestField("content") + "," + digestField512("other")}, nil, ErrDigest},
		{"the second field wrong", []string{digestField("content"), digestField("other")}, nil, ErrDigest},
		{"deprecated algorithms only", []string{"md5=:AAAA:, unixsum=:AAAA:"}, nil, nil},
		{"parameters are ignored", []string{digestField("content") + ";x=1"}, nil, nil},
		{"empty", []string{""}, nil, nil},
		{"too short", []string{"sha-256=:AAAA:"}, ErrMalformed, nil},
		{"a token", []string{"sha-256=AAAA"}, ErrMalformed, nil},
		{"no value", []string{"sha-256"}, ErrMalformed, nil},
		{"a list", []string{"sha-256=(:AAAA:)"}, ErrMalformed, nil},
		{"the old form", []string{"SHA-256=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, ErrMalformed, nil},
		{"no base64", []string{"sha-256=:*:"}, ErrMalformed, nil},
	} {
		d, err := ParseDigests(row.fields...)
		if !errors.Is(err, row.parse) {
			t.Errorf("%s: parse: %v", row.name, err)
		}
		if err != nil {
			continue
		}
		for _, r := range []io.Reader{strings.NewReader("content"), iotest.DataErrReader(strings.NewReader("content"))} {
			verified := d.Reader(r)
			content, err := io.ReadAll(verified)
			if !errors.Is(err, row.read) || string(content) != "content" {
				t.Errorf("%s: read %q, %v", row.name, content, err)
			}
			if n, again := verified.Read(make([]byte, 1)); n != 0 || row.read != nil && !errors.Is(again, row.read) {
				t.Errorf("%s: the end does not stay: %v", row.name, again)
			}
		}
		cut := errors.New("cut")
		if _, err := io.ReadAll(d.Reader(io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(cut)))); !errors.Is(err, cut) {
			t.Errorf("%s: incomplete body: %v", row.name, err)
		}
	}
}

// A wrong digest of the body fails the whole form, a wrong digest of a part only that
// file.
func TestMultipartWithDigests(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		with := func(name, content, field string) string {
			return part(`form-data; name="d"; filename="`+name+"\"\r\n"+field, content)
		}
		body := formBody(
			with("right", "content", "Content-Digest: "+digestField("content")),
			with("wrong", "content", "Content-Digest: "+digestField("other")),
			with("repr", strings.Repeat("x", 2*chunkSize), "Repr-Digest: "+digestField512("other")),
			with("../name", "content", "Content-Digest: "+digestField("other")),
			with("last", "content", "Repr-Digest: "+digestField512("content")),
		)
		for announced, want := range map[string]error{digestField("other"): ErrDigest, digestField(body[1:]): ErrDigest} {
			d, err := ParseDigests(announced)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := submit(t, s, d.Reader(strings.NewReader(body)))
			if !errors.Is(err, want) || errors.Is(err, ErrBody) {
				t.Errorf("got %+v, %v", resp, err)
			}
			if r := ErrorResponse(err); r.Code != CodeInvalid || !strings.HasPrefix(r.Reason, "digest does not match: ") {
				t.Errorf("response %+v", r)
			}
		}
		d, err := ParseDigests(digestField(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := submit(t, s, d.Reader(strings.NewReader(body)))
		if err != nil || !codes(resp, 200, 400, 400, 400, 200) || !strings.HasPrefix(resp.Files[1].Reason, "digest does not match") {
			t.Errorf("got %+v, %v", resp, err)
		}
		broken := formBody(filePart("d", "first", "content"), with("x", "content", "Content-Digest: sha-256=1"))
		if resp, err := submit(t, s, strings.NewReader(broken)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a broken field: %+v, %v", resp, err)
		}
	})
}

func FuzzParseDigests(f *testing.F) {
	for _, seed := range []string{"", digestField("a"), digestField("a") + ", " + digestField512("b"), "md5=:AAAA:", "sha-256=:AAAA:", "sha-256=1;a=?1", "sha-256=(1 2)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		d, err := ParseDigests(field)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: %v", field, err)
			}
			return
		}
		_, err = io.ReadAll(d.Reader(strings.NewReader("a")))
		matches := true
		for _, e := range d {
			h := digestHashes[e.algorithm]()
			h.Write([]byte("a"))
			matches = matches && string(h.Sum(nil)) == string(e.sum)
		}
		if matches != (err == nil) || err != nil && !errors.Is(err, ErrDigest) {
			t.Errorf("%q: matches %v, read %v", field, matches, err)
		}
	})
}

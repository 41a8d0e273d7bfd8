package utf8text_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/utf8text"
)

func TestCheckJSON(t *testing.T) {
	for _, c := range []struct{ data, why, repaired string }{
		{`{}`, "", ""},
		{`{"args":["a","€","\ud83d\ude00","\\ud800","\ufffd","` + "\uFFFD" + `"]}`, "", ""},
		{`not JSON`, "", ""},
		{``, "", ""},
		{`{"a":1,"args":["a` + "\xff\xfe" + `b"]}`, `"args" is not valid UTF-8: byte 0xff`, `{"a":1,"args":["a` + "\uFFFD\uFFFD" + `b"]}`},
		{`{"id":"` + "\xed\xa0\x80" + `"}`, `"id" is not valid UTF-8: byte 0xed`, `{"id":"` + "\uFFFD\uFFFD\uFFFD" + `"}`},
		{`{"id":"` + "\xe2\x82" + `"}`, `"id" is not valid UTF-8: byte 0xe2`, `{"id":"` + "\uFFFD\uFFFD" + `"}`},
		{`{"` + "\xff" + `":1}`, `a name is not valid UTF-8: byte 0xff`, `{"` + "\uFFFD" + `":1}`},
		{`[1,"\ud800"]`, `element 2 is not valid UTF-8: \ud800 is half of a surrogate pair`, `[1,"` + "\uFFFD" + `"]`},
		{`["\uDC00\ud800"]`, `element 1 is not valid UTF-8: \uDC00 is half of a surrogate pair`, `["` + "\uFFFD\uFFFD" + `"]`},
		{`["\ud800\u0041"]`, `element 1 is not valid UTF-8: \ud800 is half of a surrogate pair`, `["` + "\uFFFD" + `\u0041"]`},
		{`["\ud800x\udc00"]`, `element 1 is not valid UTF-8: \ud800 is half of a surrogate pair`, `["` + "\uFFFDx\uFFFD" + `"]`},
		{`["\\\ud800"]`, `element 1 is not valid UTF-8: \ud800 is half of a surrogate pair`, `["\\` + "\uFFFD" + `"]`},
		{`"\ud800"`, `the value is not valid UTF-8: \ud800 is half of a surrogate pair`, `"` + "\uFFFD" + `"`},
		{"\xff", "the value is not valid UTF-8: byte 0xff", "\uFFFD"},
		{`{"a":"` + "\xff", `"a" is not valid UTF-8: byte 0xff`, `{"a":"` + "\uFFFD"},
	} {
		err := utf8text.CheckJSON([]byte(c.data))
		repaired := string(utf8text.RepairJSON([]byte(c.data)))
		switch {
		case c.why == "" && (err != nil || repaired != c.data):
			t.Errorf("%q: %v, repaired %q", c.data, err, repaired)
		case c.why != "" && (!errors.Is(err, utf8text.ErrInvalid) || err.Error() != c.why || repaired != c.repaired):
			t.Errorf("%q: %v, repaired %q; want %s, %q", c.data, err, repaired, c.why, c.repaired)
		}
	}
}

// FuzzJSON compares the check with encoding/json, which replaces exactly the invalid parts
// of strings by U+FFFD when it decodes them.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":["\ud800","` + "\xff" + `"]}`, `["\ud83d\ude00\\ud800\u0041"]`, "\xed\xa0\x80", `"\`, `"\u12`, `"\ud800\`, `["€",{"\udc00":1}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		given := bytes.Clone(data)
		err := utf8text.CheckJSON(data)
		repaired := utf8text.RepairJSON(data)
		if !bytes.Equal(data, given) {
			t.Fatalf("%q was changed to %q", given, data)
		}
		if err == nil != bytes.Equal(repaired, data) {
			t.Fatalf("%q: %v, but repaired %q", data, err, repaired)
		}
		if !utf8.Valid(repaired) {
			t.Fatalf("%q was repaired to %q, which is not UTF-8", data, repaired)
		}
		if json.Valid(data) {
			if again := utf8text.CheckJSON(repaired); again != nil || !json.Valid(repaired) {
				t.Fatalf("%q was repaired to %q: %v", data, repaired, again)
			}
			if was, is := decoded(t, data), decoded(t, repaired); was != is {
				t.Fatalf("%q decodes to %s, repaired to %s", data, was, is)
			}
		}
	})
}

// decoded returns JSON after decoding and encoding it with encoding/json.
func decoded(t *testing.T, data []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package uploads

import (
	"errors"
	"net/textproto"
	"testing"
)

func TestParseHeader(t *testing.T) {
	for value, want := range map[string]disposition{
		`form-data; name="d"`:                                   {"d", "", false},
		`form-data; name="d"; filename="a"`:                     {"d", "a", true},
		`form-data; name="d"; filename=""`:                      {"d", "", true},
		`form-data;name=d;filename=a;`:                          {"d", "a", true},
		`FORM-DATA ; NAME = "d" ; FileName = "a" ; size="1"`:    {"d", "a", true},
		`form-data; filename="a"`:                               {"", "a", true},
		`form-data`:                                             {"", "", false},
		`form-data; name="ä/音"; filename="ü; x=y.mp3"`:          {"ä/音", "ü; x=y.mp3", true},
		`form-data; name="d"; filename="../../evil.txt"`:        {"d", "../../evil.txt", true}, // not cleaned
		`form-data; name="d"; filename="a%22b%2F.txt"`:          {"d", "a%22b%2F.txt", true},   // browsers, curl, Python
		`form-data; name="d"; filename="a\"b"`:                  {"d", `a"b`, true},            // curl --form-escape
		`form-data; name="d"; filename="a\(b"`:                  {"d", `a\(b`, true},           // a backslash that is in the name
		`form-data; name="d"; filename="..\..\x"`:               {"d", `..\..\x`, true},
		`form-data; name="d"; filename="..\\..\\x"`:             {"d", `..\..\x`, true},
		`form-data; name="d"; filename="a\\"`:                   {"d", `a\`, true},
		`form-data; name="d"; filename=a\b`:                     {"d", `a\b`, true},
		`form-data; name="d"; filename="\xff"`:                  {"d", `\xff`, true},
		`form-data; name="d"; filename*=UTF-8''%e2%82%ac+x%2f`:  {"d", "€+x/", true},
		`form-data; name="d"; filename*=utf-8'en'a; filename=b`: {"d", "a", true},
		`form-data; name*=utf-8''%c3%a4; filename="b"`:          {"ä", "b", true},
		`form-data; name="d"; filename="=?utf-8?q?a?="`:         {"d", "=?utf-8?q?a?=", true},
		`form-data; name="d"; filename=foo bar.txt`:             {"d", "foo bar.txt", true},
		`form-data; name=d e; filename= a  b ;`:                 {"d e", "a  b", true},
		`form-data; name`:                                       {"", "", false},
		`form-data; name=; filename=`:                           {"", "", true},
		`form-data; secure; name="d"; filename; filename="a"`:   {"d", "a", true},
		`form-data; ; name=d;; filename=a;;`:                    {"d", "a", true},
		`form-data; name="filename=x"`:                          {"filename=x", "", false},
	} {
		got, err := parseHeader(textproto.MIMEHeader{"Content-Disposition": {value}})
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", value, got, err, want)
		}
	}
	for _, value := range []string{
		``, `attachment; filename="a"`, `form-data, name="d"`, `form-data; ="d"`, `form-data; "name"`,
		`form-data; name="d`, `form-data; name="d"; filename="x\"`, `form-data; name="d" filename="a"`, `form-data; name="d"x`,
		`form-data; name="d"; filename="a"; filename="b"`, `form-data; name="d"; FILENAME=a; filename=a`,
		`form-data; na me=d`, `form-data; name=d"e`, `form-data; name=d"e; filename=a"`, `form-data; x"; name=d`,
		`form-data; filename*0="a"; filename*1="b"`, `form-data; filename*0*=utf-8''a`, `form-data; filename*=a`, `form-data; filename*='a`,
		`form-data; filename*=iso-8859-1''%e4`, `form-data; filename*=utf-8''%e`, `form-data; filename*=utf-8''%zz`, `form-data; *=utf-8''a`,
	} {
		if got, err := parseHeader(textproto.MIMEHeader{"Content-Disposition": {value}}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
}

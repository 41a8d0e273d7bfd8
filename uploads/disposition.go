package uploads

import (
	"net/textproto"
	"net/url"
	"strings"
)

// disposition is the Content-Disposition of a part.
type disposition struct {
	name     string
	filename string
	file     bool // true if there is a filename, even an empty one
}

// parseHeader parses the header of a part (RFC 7578, section 4.2).
//
// It does not use the standard library, because that changes names: Part.FileName turns
// ../../evil.txt into evil.txt, and mime.ParseMediaType removes the backslash of a\(b,
// which browsers, curl and Python do not escape. Here names are not changed, with two
// exceptions. \" and \\ are unescaped, because older clients send them. filename* (RFC
// 8187, only UTF-8) is decoded; it has precedence over filename (RFC 6266). %22 is not
// decoded: clients that send it for a quote do not escape the percent sign, so it could
// also be a part of the name.
//
// The error wraps ErrMalformed.
func parseHeader(h textproto.MIMEHeader) (disposition, error) {
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "", "7bit", "8bit", "binary":
	default: // deprecated by RFC 7578, section 4.7; without decoding, the stored file would be wrong
		return disposition{}, WithReason(ErrMalformed, "a part has a Content-Transfer-Encoding other than 7bit, 8bit or binary")
	}
	values := h.Values("Content-Disposition")
	if len(values) != 1 {
		return disposition{}, WithReason(ErrMalformed, "a part must have exactly one Content-Disposition")
	}
	kind, rest, _ := strings.Cut(values[0], ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return disposition{}, WithReason(ErrMalformed, "the Content-Disposition of a part is not form-data")
	}
	parameters, ok := parseParameters(rest)
	if !ok {
		return disposition{}, WithReason(ErrMalformed, "the Content-Disposition of a part cannot be parsed")
	}
	d := disposition{name: parameters["name"]}
	d.filename, d.file = parameters["filename"]
	if v, ok := parameters["name*"]; ok {
		d.name = v
	}
	if v, ok := parameters["filename*"]; ok {
		d.filename, d.file = v, true
	}
	return d, nil
}

// parseParameters parses key=value; key="value"; … and decodes the values of keys that
// end with a star. Like Tornado it ignores a key without a value. It refuses a key that
// occurs twice, because two programs could choose different values, and the
// continuations of RFC 2231 (filename*0), which RFC 8187 forbids and no client sends.
func parseParameters(s string) (map[string]string, bool) {
	parameters := make(map[string]string, 2)
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if word, after, _ := strings.Cut(s, ";"); !strings.Contains(word, "=") {
			if strings.Contains(word, `"`) {
				return nil, false
			}
			s = after
			continue
		}
		key, rest, _ := strings.Cut(s, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if _, twice := parameters[key]; twice || key == "" || strings.ContainsAny(key, " \t\"") {
			return nil, false
		}
		value, rest, ok := cutValue(strings.TrimLeft(rest, " \t"))
		if base, after, star := strings.Cut(key, "*"); star && ok {
			if after != "" || base == "" {
				return nil, false
			}
			value, ok = decodeExtended(value)
		}
		if !ok {
			return nil, false
		}
		parameters[key], s = value, rest
	}
	return parameters, true
}

// cutValue cuts a value, quoted or not, and the semicolon after it from s. A value
// without quotes ends at the semicolon and may contain all characters except quotes:
// some clients send filename=foo bar.txt.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		value = strings.TrimSpace(value)
		return value, rest, !strings.Contains(value, `"`)
	}
	var unquoted strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			rest = strings.TrimSpace(s[i+1:])
			after, more := strings.CutPrefix(rest, ";")
			return unquoted.String(), after, more || rest == ""
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			unquoted.WriteByte(s[i])
		default:
			unquoted.WriteByte(c)
		}
	}
	return "", "", false
}

// decodeExtended decodes an ext-value (RFC 8187): UTF-8'language'text.
func decodeExtended(s string) (string, bool) {
	charset, rest, ok := strings.Cut(s, "'")
	_, text, more := strings.Cut(rest, "'")
	if !ok || !more || !strings.EqualFold(charset, "utf-8") {
		return "", false
	}
	text, err := url.PathUnescape(text) // not QueryUnescape, which turns + into a space
	return text, err == nil
}

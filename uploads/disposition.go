package uploads

import (
	"net/textproto"
	"net/url"
	"strings"
)

// disposition is what a part's header says of it.
type disposition struct {
	name     string
	filename string
	file     bool // there is a filename, be it empty
}

// parseHeader reads the header of a form's part (RFC 7578, section 4.2).
//
// It does so itself because the standard library cleans: Part.FileName turns
// ../../evil.txt into evil.txt, and mime.ParseMediaType drops the backslash of
// a\(b, which browsers, curl and Python send as it is. Here names are literal.
// Undone are only \" and \\, which older clients send, and filename* (RFC 8187,
// UTF-8 only), which wins over filename as RFC 6266 has it. %22 stays %22: the
// clients that send it for a quote do not escape the per cent sign, so a file
// that really is called that reads the same.
//
// The error wraps ErrMalformed.
func parseHeader(h textproto.MIMEHeader) (disposition, error) {
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "", "7bit", "8bit", "binary":
	default: // RFC 7578, section 4.7: not to be sent; the bytes would not be the file's
		return disposition{}, WithReason(ErrMalformed, "a part has a content-transfer-encoding")
	}
	values := h.Values("Content-Disposition")
	if len(values) != 1 {
		return disposition{}, WithReason(ErrMalformed, "a part needs one content-disposition")
	}
	kind, rest, _ := strings.Cut(values[0], ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return disposition{}, WithReason(ErrMalformed, "a part is not form-data")
	}
	parameters, ok := parseParameters(rest)
	if !ok {
		return disposition{}, WithReason(ErrMalformed, "the content-disposition of a part is broken")
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

// parseParameters reads key=value; key="value"; … with the values of keys that
// end in a star decoded. A parameter without a value (key; and an empty one) is
// ignored, as Tornado does. It refuses a key that comes twice, of which two readers
// might choose differently, and RFC 2231's continuations (filename*0), which RFC
// 8187 rules out and no client sends.
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

// cutValue takes a value, quoted or not, and the semicolon after it. One that is
// not quoted ends at the semicolon and may have anything else in it but quotes:
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

// decodeExtended decodes an ext-value of RFC 8187, UTF-8'language'text.
func decodeExtended(s string) (string, bool) {
	charset, rest, ok := strings.Cut(s, "'")
	_, text, more := strings.Cut(rest, "'")
	if !ok || !more || !strings.EqualFold(charset, "utf-8") {
		return "", false
	}
	text, err := url.PathUnescape(text) // a plus stays a plus
	return text, err == nil
}

package routes

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// attachment is a Content-Disposition that has a file saved under its name (RFC 6266).
// filename is for clients that do not know filename*: ASCII, without what some of
// them read as an escape (appendix D). All others take filename*, which is exact.
func attachment(filename string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%/`, r) {
			return '_'
		}
		return r
	}, filename)
	exact := strings.ToValidUTF8(filename, string(utf8.RuneError))
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(exact), "+", "%20")
}

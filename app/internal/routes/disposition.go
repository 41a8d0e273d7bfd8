package routes

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// attachment returns a Content-Disposition with which browsers save a file under its name
// (RFC 6266). The parameter filename is for old clients: it is ASCII, without characters
// that some of them unescape (appendix D). Other clients use filename*, which is exact.
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

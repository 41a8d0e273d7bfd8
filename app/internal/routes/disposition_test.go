package routes

import (
	"mime"
	"strings"
	"testing"
)

func TestAttachment(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"speech.wav":      `attachment; filename="speech.wav"; filename*=UTF-8''speech.wav`,
		"a b;c.txt":       `attachment; filename="a b;c.txt"; filename*=UTF-8''a%20b%3Bc.txt`,
		`say "hi".txt`:    `attachment; filename="say _hi_.txt"; filename*=UTF-8''say%20%22hi%22.txt`,
		`a\b`:             `attachment; filename="a_b"; filename*=UTF-8''a%5Cb`,
		"100%41.txt":      `attachment; filename="100_41.txt"; filename*=UTF-8''100%2541.txt`,
		"a+b@c:d=e":       `attachment; filename="a+b@c:d=e"; filename*=UTF-8''a%2Bb%40c%3Ad%3De`,
		"€uro ünï.txt":    `attachment; filename="_uro _n_.txt"; filename*=UTF-8''%E2%82%ACuro%20%C3%BCn%C3%AF.txt`,
		"a\r\nSet: x\x7f": `attachment; filename="a__Set: x_"; filename*=UTF-8''a%0D%0ASet%3A%20x%7F`,
		"bad\xff.bin":     `attachment; filename="bad_.bin"; filename*=UTF-8''bad%EF%BF%BD.bin`,
	} {
		if got := attachment(name); got != want {
			t.Errorf("%q: %s\nwant %s", name, got, want)
		}
	}
	long := strings.Repeat("ü", 127) // 254 bytes
	for _, name := range []string{long, strings.Repeat("x", 255), `"; filename=evil.exe; x="`} {
		value := attachment(name)
		plain, exact, found := strings.Cut(value, "; filename*=")
		_, params, err := mime.ParseMediaType("attachment; filename*=" + exact)
		if !found || err != nil || params["filename"] != name {
			t.Errorf("%q: %s, %v", name, value, err)
		}
		if _, params, err := mime.ParseMediaType(plain); err != nil || len(params["filename"]) != len([]rune(name)) {
			t.Errorf("%q: %s, %v", name, plain, err)
		}
	}
}

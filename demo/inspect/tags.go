package inspect

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/galeserver/gale/pool"

	"github.com/dhowden/tag"
)

const (
	// maxTag is the size limit of one tag in bytes; longer ones are left out.
	maxTag = 4 << 10
	// maxInfo is the size limit of a LIST chunk in bytes; the rest of it is left out.
	maxInfo = 64 << 10
)

// tags are the tags of a file.
type tags struct {
	named        map[string]string // values by the names in Report.Tags
	milliseconds int               // duration of the original sound, from TLEN; 0 if unknown
}

func newTags() *tags { return &tags{named: map[string]string{}} }

// set adds a tag. If there is already one with that name, it is kept: tags at the start of a
// file have priority over those at the end.
func (t *tags) set(name, value string) {
	value = clean(value)
	if _, exists := t.named[name]; !exists && value != "" {
		t.named[name] = value
	}
}

// clean returns s as one line of valid UTF-8 without control characters, up to the first zero
// byte. If s is not valid UTF-8, it is read as Latin-1: ID3v1 and INFO use one of these two
// encodings.
func clean(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if !utf8.ValidString(s) {
		latin1 := make([]rune, len(s))
		for i := range len(s) {
			latin1[i] = rune(s[i])
		}
		s = string(latin1)
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// infoNames are the names in Report.Tags of the entries in a RIFF INFO list.
var infoNames = map[string]string{
	"INAM": "title", "IART": "artist", "IPRD": "album", "IMUS": "composer",
	"IGNR": "genre", "ICRD": "year", "ITRK": "track", "IPRT": "track",
	"ICMT": "comment", "ICOP": "copyright", "ISFT": "encoder",
}

// readInfo reads the tags in a LIST chunk, if it is an INFO list.
func (t *tags) readInfo(r io.Reader) error {
	list, err := io.ReadAll(io.LimitReader(r, maxInfo))
	if err != nil || !bytes.HasPrefix(list, []byte("INFO")) {
		return err
	}
	for list = list[4:]; len(list) > 8; {
		name, size := infoNames[string(list[:4])], int64(binary.LittleEndian.Uint32(list[4:]))
		list = list[8:]
		value := list[:min(size, int64(len(list)))]
		if name != "" && len(value) <= maxTag {
			t.set(name, string(value))
		}
		list = list[min(size+size%2, int64(len(list))):]
	}
	return nil
}

// readID3v1 reads an ID3v1 tag from the last bytes of a file, if there is one.
func (t *tags) readID3v1(last []byte) {
	if !bytes.HasPrefix(last, []byte("TAG")) {
		return
	}
	t.read(func() (tag.Metadata, error) { return tag.ReadID3v1Tags(bytes.NewReader(last)) })
}

// read stores the values of a tag that the library has parsed. If the library returns an error
// or panics, the tag is left out.
func (t *tags) read(parse func() (tag.Metadata, error)) {
	_ = pool.Protect(func() error {
		m, err := parse()
		if err != nil {
			return err
		}
		raw := m.Raw()
		t.set("title", m.Title())
		t.set("artist", m.Artist())
		t.set("album", m.Album())
		t.set("album_artist", m.AlbumArtist())
		t.set("composer", m.Composer())
		t.set("genre", m.Genre())
		t.set("year", cmp.Or(number(m.Year()), text(raw, "TDRC", "TYER", "TYE")))
		t.set("track", number(m.Track()))
		t.set("disc", number(m.Disc()))
		t.set("comment", cmp.Or(comment(raw), m.Comment()))
		t.set("copyright", text(raw, "TCOP", "TCR"))
		t.set("encoder", text(raw, "TSSE", "TSS"))
		if t.milliseconds == 0 {
			t.milliseconds, _ = strconv.Atoi(text(raw, "TLEN", "TLE"))
		}
		return nil
	})
}

// comment returns the first comment without a description. The library would also return
// comments with a description, which programs write, for example iTunNORM.
func comment(raw map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if c, ok := raw[name].(*tag.Comm); ok && strings.HasPrefix(name, "COM") && c.Description == "" {
			return c.Text
		}
	}
	return ""
}

// text returns the first of the named values that is a text, or "".
func text(raw map[string]any, names ...string) string {
	for _, name := range names {
		if s, ok := raw[name].(string); ok {
			return s
		}
	}
	return ""
}

// number formats a number and, if it is known, the total: "3" or "3/12". It returns "" for 0.
func number(n int, of ...int) string {
	switch {
	case n <= 0:
		return ""
	case len(of) > 0 && of[0] > 0:
		return fmt.Sprintf("%d/%d", n, of[0])
	}
	return strconv.Itoa(n)
}

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
	// maxTag is how long a tag may be, in bytes, to be of interest.
	maxTag = 4 << 10
	// maxInfo is the same for all tags of a WAVE file together.
	maxInfo = 64 << 10
)

// tags are what a file says about itself.
type tags struct {
	named map[string]string // by the names that Report lists
	// milliseconds is how long the sound was before it was encoded, 0 if the
	// file does not say.
	milliseconds int
}

func newTags() *tags { return &tags{named: map[string]string{}} }

// set adds a tag, unless there is one of that name: those at the start of a
// file count more than those at its end.
func (t *tags) set(name, value string) {
	value = clean(value)
	if _, there := t.named[name]; !there && value != "" {
		t.named[name] = value
	}
}

// clean makes text of what may be anything: UTF-8 or else Latin-1, the two that
// ID3v1 and INFO are written in, on one line.
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

// infoNames are the tags of a RIFF INFO list.
var infoNames = map[string]string{
	"INAM": "title", "IART": "artist", "IPRD": "album", "IMUS": "composer",
	"IGNR": "genre", "ICRD": "year", "ITRK": "track", "IPRT": "track",
	"ICMT": "comment", "ICOP": "copyright", "ISFT": "encoder",
}

// readInfo reads a LIST chunk, if it is one of tags.
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

// readID3v1 reads the last bytes of a file, if they are a tag.
func (t *tags) readID3v1(last []byte) {
	if !bytes.HasPrefix(last, []byte("TAG")) {
		return
	}
	t.read(func() (tag.Metadata, error) { return tag.ReadID3v1Tags(bytes.NewReader(last)) })
}

// read takes over what the library made of a tag. What it cannot read, or
// panics over, is left out.
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

// comment finds the one that a person wrote: it has no description. Those that
// programs leave for themselves do (iTunNORM), and the library prefers them.
func comment(raw map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if c, ok := raw[name].(*tag.Comm); ok && strings.HasPrefix(name, "COM") && c.Description == "" {
			return c.Text
		}
	}
	return ""
}

func text(raw map[string]any, names ...string) string {
	for _, name := range names {
		if s, ok := raw[name].(string); ok {
			return s
		}
	}
	return ""
}

// number writes 3 of no known total as "3", 3 of 12 as "3/12", 0 as nothing.
func number(n int, of ...int) string {
	switch {
	case n <= 0:
		return ""
	case len(of) > 0 && of[0] > 0:
		return fmt.Sprintf("%d/%d", n, of[0])
	}
	return strconv.Itoa(n)
}

package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestTagsOfTestdata(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"speech.wav": {},
		"speech.mp3": {
			"title": "The quick brown fox", "artist": "espeak-ng", "album": "Gale test data", "year": "2026",
			"track": "1/2", "genre": "Speech", "comment": "Made for the tests of server/app/inspect",
			"encoder": "LAME 64bits version 3.100 (http://lame.sf.net)",
		},
		"speech-44100-stereo.mp3": {"title": "Two voices"},
	} {
		r, _, err := inspect(t, name, sound(t, name))
		if err != nil || !maps.Equal(r.Tags, want) {
			t.Errorf("%s: %q, %v", name, r.Tags, err)
		}
	}
}

// utf16LE returns text as programs on Windows write it: in UTF-16 with a byte order mark.
func utf16LE(s string) []byte {
	b := []byte{1, 0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// id3Tag returns a tag with the given frames, which id3v23 or id3v24 have encoded.
func id3Tag(version, flags byte, frames ...[]byte) []byte {
	body := slices.Concat(frames...)
	tag := append([]byte("ID3"), version, 0, flags, 0, 0, 0, 0)
	putSynchsafe(tag[6:], len(body))
	return append(tag, body...)
}

func id3v23(id string, data ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(id), uint32(len(data)))
	return append(append(b, 0, 0), data...)
}

func id3v24(id string, flags byte, data ...byte) []byte {
	b := append([]byte(id), 0, 0, 0, 0, 0, flags)
	putSynchsafe(b[4:], len(data))
	return append(b, data...)
}

func latin1(s string) []byte { return append([]byte{0}, s...) }

func TestID3v2(t *testing.T) {
	title := id3v23("TIT2", latin1("Gale")...)
	picture := id3v23("APIC", make([]byte, 1<<20)...)
	unsynced := bytes.ReplaceAll(id3v23("TIT2", utf16LE("Gale")...), []byte{0xFF}, []byte{0xFF, 0})
	for _, c := range []struct {
		name string
		tag  []byte
		want map[string]string
	}{
		{"2.2", id3Tag(2, 0, append([]byte("TT2\x00\x00\x05"), latin1("Gale")...)), map[string]string{"title": "Gale"}},
		{"2.3", id3Tag(3, 0, title), map[string]string{"title": "Gale"}},
		{"2.3, UTF-16", id3Tag(3, 0, id3v23("TPE1", utf16LE("Grüße €")...)), map[string]string{"artist": "Grüße €"}},
		{"2.3, unsynchronised", id3Tag(3, flagUnsync, unsynced), map[string]string{"title": "Gale"}},
		{"2.3, extended header", id3Tag(3, flagExtended, []byte{0, 0, 0, 6, 0, 0, 0, 0, 0, 0}, title), map[string]string{"title": "Gale"}},
		{"2.4", id3Tag(4, 0, id3v24("TIT2", 0, append([]byte{3}, "Grüße"...)...), id3v24("TDRC", 0, latin1("2026-11")...)),
			map[string]string{"title": "Grüße", "year": "2026-11"}},
		{"2.4, unsynchronised, length first", id3Tag(4, flagUnsync, id3v24("TIT2", 3, append([]byte{0, 0, 0, 11}, bytes.ReplaceAll(utf16LE("Gale"), []byte{0xFF}, []byte{0xFF, 0})...)...)),
			map[string]string{"title": "Gale"}},
		{"2.4, extended header", id3Tag(4, flagExtended, []byte{0, 0, 0, 6, 1, 0}, id3v24("TIT2", 0, latin1("Gale")...)), map[string]string{"title": "Gale"}},
		{"2.4, compressed", id3Tag(4, 0, id3v24("TIT2", 8, 1, 2, 3), id3v24("TALB", 0, latin1("B")...)), map[string]string{"album": "B"}},
		{"behind a picture", id3Tag(3, 0, picture, title), map[string]string{"title": "Gale"}},
		{"padding", id3Tag(3, 0, title, make([]byte, 3000)), map[string]string{"title": "Gale"}},
		{"the first of two", slices.Concat(id3Tag(3, 0, title), id3Tag(3, 0, id3v23("TIT2", latin1("No")...))), map[string]string{"title": "Gale"}},
		{"genre by number", id3Tag(3, 0, id3v23("TCON", latin1("(101)")...)), map[string]string{"genre": "Speech"}},
		{"comment of a person", id3Tag(3, 0, id3v23("COMM", latin1("engiTunNORM\x00 0000")...), id3v23("COMM", latin1("eng\x00fine")...)), map[string]string{"comment": "fine"}},
		{"a line", id3Tag(3, 0, id3v23("TIT2", latin1("a\r\nb\x00c")...)), map[string]string{"title": "a  bc"}},
		{"too long", id3Tag(3, 0, id3v23("TIT2", latin1(strings.Repeat("long ", 1000))...)), map[string]string{}},
		{"frame longer than the tag", id3Tag(3, 0, []byte("TIT2\x7f\xff\xff\xff\x00\x00\x00Gale")), map[string]string{}},
		{"version of the future", id3Tag(5, 0, title), map[string]string{}},
		{"half of UTF-16", id3Tag(3, 0, id3v23("TIT2", 1, 0xFF, 0xFE, 0x41)), map[string]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _, err := inspect(t, "x.mp3", append(c.tag, sound(t, "speech-22050-cbr.mp3")...))
			if err != nil || !maps.Equal(r.Tags, c.want) {
				t.Errorf("got %q, want %q, %v", r.Tags, c.want, err)
			}
		})
	}
}

// Without the small tag, dhowden/tag needs minutes for this file.
func TestManyTags(t *testing.T) {
	many := id3Tag(3, 0, bytes.Repeat(id3v23("TXXX", 0, 0), 200000))
	r, _, err := inspect(t, "x.mp3", append(many, sound(t, "speech-22050-cbr.mp3")...))
	if err != nil || len(r.Tags) != 0 {
		t.Errorf("%q, %v", r.Tags, err)
	}
}

func TestTagsOfWAV(t *testing.T) {
	info := slices.Concat([]byte("INFO"),
		textChunk("INAM", "Gr\xfc\xdfe\x00"), textChunk("IART", "me"), textChunk("ICMT", "odd"), textChunk("IXYZ", "?"))
	for _, c := range []struct {
		name string
		wave wave
		want map[string]string
	}{
		{"INFO before the sound", wave{before: chunk("LIST", info...)}, map[string]string{"title": "Grüße", "artist": "me", "comment": "odd"}},
		{"INFO after the sound", wave{after: chunk("LIST", info...)}, map[string]string{"title": "Grüße", "artist": "me", "comment": "odd"}},
		{"ID3", wave{after: chunk("id3 ", id3Tag(3, 0, id3v23("TIT2", latin1("Gale")...))...)}, map[string]string{"title": "Gale"}},
		{"ID3 that is truncated", wave{after: textChunk("id3 ", "ID3\x03\x00\x00\x7f\x7f\x7f\x7fTIT2")}, map[string]string{}},
		{"list of another kind", wave{before: textChunk("LIST", "adtlINAM\x01\x00\x00\x00x\x00")}, map[string]string{}},
		{"4 GiB of title", wave{before: textChunk("LIST", "INFOINAM\xff\xff\xff\xffGale")}, map[string]string{"title": "Gale"}},
	} {
		r, _, err := inspect(t, "x.wav", c.wave.file(sine(800, 1)))
		if err != nil || !maps.Equal(r.Tags, c.want) {
			t.Errorf("%s: got %q, want %q, %v", c.name, r.Tags, c.want, err)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, c := range map[string][2]int{"": {0, 5}, "3": {3, 0}, "3/12": {3, 12}} {
		if got := number(c[0], c[1]); got != want {
			t.Errorf("%v is %q, want %q", c, got, want)
		}
	}
	if got := fmt.Sprint(number(2026), number(0)); got != "2026" {
		t.Errorf("years are %q", got)
	}
}

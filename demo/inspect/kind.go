package inspect

import "bytes"

const (
	wavKind = "a WAV file"
	mp3Kind = "an MP3 file"
)

// kinds are the first bytes of file formats that are often uploaded under a wrong name.
var kinds = []struct {
	offset int
	magic  string
	name   string
}{
	{8, "WAVE", wavKind},
	{0, "ID3", mp3Kind},
	{0, "\xff\xfb", mp3Kind},
	{0, "\xff\xf3", mp3Kind},
	{0, "\xff\xfd", "an MPEG layer II file"},
	{0, "\xff\xfc", "an MPEG layer II file"},
	{0, "\xff\xf1", "an AAC file"},
	{0, "\xff\xf9", "an AAC file"},
	{0, "fLaC", "a FLAC file"},
	{0, "OggS", "an Ogg file"},
	{0, "FORM", "an AIFF file"},
	{0, "RIFX", "a big-endian RIFX file"},
	{0, "RIFF", "a RIFF file of another kind"},
	{4, "ftyp", "an MP4 file"},
	{0, "\x1aE\xdf\xa3", "a Matroska or WebM file"},
}

// looksLike returns the last part of an error text for a file that begins with head, for
// example ", it looks like a FLAC file". It returns "" if the format is unknown or is the
// expected one.
func looksLike(head []byte, expected string) string {
	for _, k := range kinds {
		if k.name != expected && len(head) >= k.offset && bytes.HasPrefix(head[k.offset:], []byte(k.magic)) {
			return ", it looks like " + k.name
		}
	}
	return ""
}

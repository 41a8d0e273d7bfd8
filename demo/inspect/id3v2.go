package inspect

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/dhowden/tag"
)

// github.com/dhowden/tag decodes the text encodings of ID3v2. But it allocates the size that
// a frame claims, up to 10 MiB, it keeps every picture, and its time grows with the square of
// the number of frames. Therefore it gets a small tag that contains only the first text
// frames of the tag in the file.
//
// Sources: https://id3.org/id3v2.4.0-structure, and the same for 2.3.0 and 2.2.0. A tag
// consists of frames, which are not the frames of MPEG audio.

const (
	// maxTags is the largest number of text frames that the library gets.
	maxTags = 64
	// id3v2Header is the size of the header of a tag in bytes.
	id3v2Header = 10
)

// Flags of a tag, in the sixth byte of its header, and flags of a frame in a tag of version 4.
const (
	flagUnsync   = 0x80 // FF 00 stands for FF
	flagExtended = 0x40 // an extended header follows
	flagFooter   = 0x10 // a footer of ten bytes follows the frames

	frameUnsync = 0x02 // FF 00 stands for FF
	frameLength = 0x01 // the length of the data precedes the data
)

// readID3v2 reads the tag at the start of r, up to its end, and stores its values. It ignores
// invalid content. If the tag is truncated, the error is io.EOF or io.ErrUnexpectedEOF.
func (t *tags) readID3v2(r io.Reader) error {
	var head [id3v2Header]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := int64(synchsafe(head[6:]))
	if head[5]&flagFooter != 0 {
		size += id3v2Header
	}
	body := &io.LimitedReader{R: r, N: size}
	if small := copyTextFrames(body, head); len(small) > 0 {
		t.read(func() (tag.Metadata, error) { return tag.ReadID3v2Tags(bytes.NewReader(small)) })
	}
	_, err := io.CopyN(io.Discard, body, body.N)
	return err
}

// copyTextFrames copies the text frames of the tag into a small tag. It stops at the end
// of the tag or at the first invalid frame.
func copyTextFrames(body io.Reader, head [id3v2Header]byte) []byte {
	version, flags := head[3], head[5]
	if version < 2 || version > 4 {
		return nil
	}
	if flags&flagUnsync != 0 && version < 4 { // in version 4 each frame has its own flag
		body = &unsyncReader{r: body}
	}
	if flags&flagExtended != 0 && !skipExtended(body, version) {
		return nil
	}
	small := make([]byte, id3v2Header, 1024)
	for range maxTags {
		f, ok := nextFrame(body, version)
		if !ok {
			break
		}
		small = f.appendTo(small, version)
	}
	// The library counts the header of the tag as part of the frames and would leave out
	// a short last frame. Zeros after it, which end the frames, prevent that.
	small = append(small, make([]byte, 2*id3v2Header)...)
	copy(small, "ID3")
	small[3] = version
	putSynchsafe(small[6:], len(small)-id3v2Header)
	return small
}

// skipExtended skips the extended header and reports whether frames follow. In version 2 the
// flag means a compression that was never defined.
func skipExtended(body io.Reader, version byte) bool {
	var raw [4]byte
	if _, err := io.ReadFull(body, raw[:]); err != nil || version == 2 {
		return false
	}
	size := int64(binary.BigEndian.Uint32(raw[:]))
	if version == 4 {
		size = int64(synchsafe(raw[:])) - 4 // in version 4 the size includes these four bytes
	}
	_, err := io.CopyN(io.Discard, body, size)
	return err == nil
}

// id3Frame is one frame of a tag, without encodings.
type id3Frame struct {
	id   string
	data []byte
}

// nextFrame returns the next frame with a text or a comment of at most maxTag bytes. It skips
// all others.
func nextFrame(body io.Reader, version byte) (f id3Frame, ok bool) {
	for {
		var head [10]byte
		idSize, headSize := 4, 10
		if version == 2 {
			idSize, headSize = 3, 6
		}
		if _, err := io.ReadFull(body, head[:headSize]); err != nil || head[0] == 0 {
			return f, false // end of the tag, or padding before it
		}
		size := int64(binary.BigEndian.Uint32(head[4:]))
		switch version {
		case 2:
			size = int64(head[3])<<16 | int64(head[4])<<8 | int64(head[5])
		case 4:
			size = int64(synchsafe(head[4:]))
		}
		f.id = string(head[:idSize])
		wanted := (f.id[0] == 'T' || f.id[:3] == "COM") && size > 0 && size <= maxTag
		if !wanted {
			if _, err := io.CopyN(io.Discard, body, size); err != nil {
				return f, false
			}
			continue
		}
		f.data = make([]byte, size)
		if _, err := io.ReadFull(body, f.data); err != nil {
			return f, false
		}
		if version == 2 || f.decode(version, head[9]) {
			return f, true
		}
	}
}

// decode undoes the encoding that the flags of a frame describe. It reports false for
// compression and encryption, which text frames do not use.
func (f *id3Frame) decode(version, flags byte) bool {
	if version == 3 {
		return flags&0xE0 == 0
	}
	if flags&^byte(frameUnsync|frameLength) != 0 {
		return false
	}
	if flags&frameLength != 0 {
		f.data = f.data[min(4, len(f.data)):]
	}
	if flags&frameUnsync != 0 {
		f.data = bytes.ReplaceAll(f.data, []byte{0xFF, 0}, []byte{0xFF})
	}
	return len(f.data) > 0
}

func (f *id3Frame) appendTo(b []byte, version byte) []byte {
	b = append(b, f.id...)
	n := len(f.data)
	switch version {
	case 2:
		b = append(b, byte(n>>16), byte(n>>8), byte(n))
	case 3:
		b = append(binary.BigEndian.AppendUint32(b, uint32(n)), 0, 0)
	case 4:
		b = append(b, 0, 0, 0, 0, 0, 0)
		putSynchsafe(b[len(b)-6:], n)
	}
	return append(b, f.data...)
}

// synchsafe decodes a number that is stored in four bytes of seven bits each.
func synchsafe(b []byte) int {
	return int(b[0]&0x7F)<<21 | int(b[1]&0x7F)<<14 | int(b[2]&0x7F)<<7 | int(b[3]&0x7F)
}

func putSynchsafe(b []byte, n int) {
	b[0], b[1], b[2], b[3] = byte(n>>21&0x7F), byte(n>>14&0x7F), byte(n>>7&0x7F), byte(n&0x7F)
}

// unsyncReader reverses the "unsynchronisation" of a tag: the writer has inserted a zero after
// each FF, so that players do not mistake the tag for sound.
type unsyncReader struct {
	r       io.Reader
	afterFF bool
}

// Read may return 0 bytes and no error, if it has read only such a zero.
func (u *unsyncReader) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	kept := 0
	for _, b := range p[:n] {
		if !u.afterFF || b != 0 {
			p[kept] = b
			kept++
		}
		u.afterFF = b == 0xFF
	}
	return kept, err
}

package inspect

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/dhowden/tag"
)

// github.com/dhowden/tag knows the encodings of ID3v2 text, but it allocates
// what a frame claims to hold, up to 10 MiB, keeps every picture, and takes
// time that grows with the square of the number of frames. So what it gets is a
// small tag, made of the first frames of text in the file's own.
//
// Source: https://id3.org/id3v2.4.0-structure, and the same of 2.3.0 and 2.2.0.

const (
	// maxTags is how many frames the library gets.
	maxTags = 64
	// id3v2Header is the length of the tag's own header.
	id3v2Header = 10
)

// Flags of the tag, in the sixth byte of its header, and of its frames.
const (
	flagUnsync   = 0x80 // FF 00 stands for FF
	flagExtended = 0x40 // an extended header follows
	flagFooter   = 0x10 // ten more bytes at the end

	frameUnsync = 0x02 // of version 4, as all the others here
	frameLength = 0x01 // the length of the data comes first
)

// readID3v2 reads a tag that r is at the start of, whole. A tag that is damaged
// inside is passed over; one that is truncated is io.EOF.
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
	if flags&flagUnsync != 0 && version < 4 { // of version 4 each frame has its own flag
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
	// The library counts the tag's header as part of its frames, and would
	// leave out a short last one: zeros end them as well.
	small = append(small, make([]byte, 2*id3v2Header)...)
	copy(small, "ID3")
	small[3] = version
	putSynchsafe(small[6:], len(small)-id3v2Header)
	return small
}

// skipExtended passes over the extended header. In version 2 the flag means a
// compression that was never defined.
func skipExtended(body io.Reader, version byte) bool {
	var raw [4]byte
	if _, err := io.ReadFull(body, raw[:]); err != nil || version == 2 {
		return false
	}
	size := int64(binary.BigEndian.Uint32(raw[:]))
	if version == 4 {
		size = int64(synchsafe(raw[:])) - 4 // counts itself
	}
	_, err := io.CopyN(io.Discard, body, size)
	return err == nil
}

// id3Frame is one frame of a tag, as plain as can be.
type id3Frame struct {
	id   string
	data []byte
}

// nextFrame reads up to and with the next frame of text or comment that is of a
// length to be of interest.
func nextFrame(body io.Reader, version byte) (f id3Frame, ok bool) {
	for {
		var head [10]byte
		idSize, headSize := 4, 10
		if version == 2 {
			idSize, headSize = 3, 6
		}
		if _, err := io.ReadFull(body, head[:headSize]); err != nil || head[0] == 0 {
			return f, false // the end, or padding before it
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

// synchsafe is a number in four bytes of seven bits.
func synchsafe(b []byte) int {
	return int(b[0]&0x7F)<<21 | int(b[1]&0x7F)<<14 | int(b[2]&0x7F)<<7 | int(b[3]&0x7F)
}

func putSynchsafe(b []byte, n int) {
	b[0], b[1], b[2], b[3] = byte(n>>21&0x7F), byte(n>>14&0x7F), byte(n>>7&0x7F), byte(n&0x7F)
}

// unsyncReader undoes the "unsynchronisation" of a whole tag: a zero after each FF,
// so that no player took the tag for sound.
type unsyncReader struct {
	r       io.Reader
	afterFF bool
}

// Read may return 0 bytes and no error, if the only byte it got was such a zero.
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

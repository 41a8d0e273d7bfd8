package inspect

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	// syncSearch is how far from the start, tags left out, the first frame may
	// be. An MP3 that was cut out of a stream may begin amid a frame.
	syncSearch = 16 << 10
	// syncFrames is how many frames in a row must be where the one before says,
	// to be believed: four bytes that look like a header are in any large file.
	syncFrames = 4
)

// frameScanner cuts an MP3 file into its frames, leaving out tags and the frame
// that tells about the others. It is strict where go-mp3, like most players,
// searches for the next thing that looks like a frame: a hole in the file must
// not go unseen.
type frameScanner struct {
	in             *input
	end            int64 // offset of the end of the audio
	tags           *tags
	first          mpegHeader
	frames         int64
	bytes          int64 // size of these frames
	constant       bool  // all frames have the same bit rate
	declaredFrames int64 // number of frames in the info frame; 0 if there is none
	frame          []byte
}

func newFrameScanner(in *input, t *tags) *frameScanner {
	s := &frameScanner{in: in, end: in.size, tags: t, constant: true}
	if bytes.HasPrefix(in.last, []byte("TAG")) && len(in.last) == id3v1Size {
		s.end -= id3v1Size
	}
	return s
}

// left is how much audio there may still be, in bytes.
func (s *frameScanner) left() int64 { return s.end - s.in.offset() }

// peek looks at the next n bytes of audio, or fewer if it ends.
func (s *frameScanner) peek(n int) []byte {
	return s.in.peek(int(min(int64(n), max(s.left(), 0))))
}

// start finds the first frame.
func (s *frameScanner) start() error {
	if err := s.skipTags(); err != nil {
		return err
	}
	for s.left() > 0 {
		run := zeros(s.peek(inputBuffer))
		if run == 0 {
			break
		}
		if err := s.in.skip(int64(run)); err != nil {
			return err
		}
	}
	ahead := s.peek(inputBuffer)
	at := findFrame(ahead, int64(len(ahead)) == s.left())
	if at < 0 {
		if freeFormat(ahead) {
			return formatError("MP3 in free format is not supported, encode it at a fixed or variable bit rate")
		}
		return formatError("no MPEG audio frame found%s", looksLike(ahead, mp3Kind))
	}
	s.first, _ = parseHeader(ahead[at:])
	if err := s.in.skip(int64(at)); err != nil {
		return err
	}
	head := s.peek(s.first.size())
	if frames, ok := infoFrame(head, s.first); ok && len(head) == s.first.size() {
		s.declaredFrames = frames
		return s.in.skip(int64(len(head)))
	}
	return nil
}

// findFrame returns where in b frames begin, -1 if they do not. whole tells
// that b goes to the end of the file.
func findFrame(b []byte, whole bool) int {
	for at := range min(len(b), syncSearch) {
		first, ok := parseHeader(b[at:])
		for pos, n := at, 0; ok; n++ {
			// A file may end before it has so many frames, though not before
			// its second if it does not begin with the first.
			if n == syncFrames || whole && pos+headerSize > len(b) && (at == 0 || n > 1) {
				return at
			}
			h, isHeader := parseHeader(b[min(pos, len(b)):])
			if !isHeader || !first.sameStream(h) {
				break
			}
			pos += h.size()
		}
	}
	return -1
}

// next returns the next frame and its header; io.EOF after the last. The frame
// is good until the next call.
func (s *frameScanner) next() ([]byte, mpegHeader, error) {
	if err := s.skipTags(); err != nil {
		return nil, mpegHeader{}, err
	}
	if s.left() <= 0 {
		return nil, mpegHeader{}, s.checkEnd()
	}
	h, ok := parseHeader(s.peek(headerSize))
	if !ok || !s.first.sameStream(h) {
		return nil, h, s.missingFrame()
	}
	size := h.size()
	if s.left() < int64(size) {
		return nil, h, formatError("the last frame is truncated: %d of %d bytes", s.left(), size)
	}
	if cap(s.frame) < size {
		s.frame = make([]byte, size)
	}
	s.frame = s.frame[:size]
	if _, err := io.ReadFull(s.in, s.frame); err != nil {
		return nil, h, s.readError(err)
	}
	s.frames++
	s.bytes += int64(size)
	s.constant = s.constant && h.bitRate == s.first.bitRate
	return s.frame, h, nil
}

// missingFrame returns the error for data that is not a frame. Zeros up to the end are
// padding and no error; zeros before more audio are.
func (s *frameScanner) missingFrame() error {
	at := s.in.offset()
	for s.left() > 0 {
		ahead := s.peek(inputBuffer)
		if run := zeros(ahead); run == 0 || run < len(ahead) {
			return formatError("damaged at byte %d: no MPEG audio frame where one should be", at)
		}
		if err := s.in.skip(int64(len(ahead))); err != nil {
			return err
		}
	}
	return s.checkEnd()
}

// checkEnd compares the number of frames with the number in the info frame. One frame
// fewer is right, because some encoders count the info frame; more are two joined files.
func (s *frameScanner) checkEnd() error {
	if s.frames == 0 || s.frames < s.declaredFrames-1 {
		return formatError("the file is truncated: %d of %d frames", s.frames, max(s.declaredFrames, 1))
	}
	return io.EOF
}

func (s *frameScanner) readError(err error) error {
	if endOfFile(err) {
		return formatError("the file is truncated after %d frames", s.frames)
	}
	return err
}

// skipTags passes over the tags between here and the next frame. They are there
// at the start, and where a file was appended to another.
func (s *frameScanner) skipTags() error {
	for {
		head := s.peek(32)
		var err error
		switch {
		case bytes.HasPrefix(head, []byte("ID3")):
			err = s.tags.readID3v2(s.in)
			if endOfFile(err) {
				return formatError("ID3 tag is truncated at byte %d", s.in.offset())
			}
		case bytes.HasPrefix(head, []byte("APETAGEX")) && len(head) == 32:
			// An APEv2 header: its length is without the header itself.
			err = s.skipTag("APE", 32+int64(binary.LittleEndian.Uint32(head[12:])))
		case bytes.HasPrefix(head, []byte("LYRICSBEGIN")):
			err = s.skipTag("Lyrics3", s.left()) // its length is at its end
		case bytes.HasPrefix(head, []byte("TAG")):
			err = s.skipTag("ID3", id3v1Size)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *frameScanner) skipTag(kind string, size int64) error {
	if size > s.left() {
		return formatError("%s tag is truncated: %d of %d bytes", kind, s.left(), size)
	}
	return s.in.skip(size)
}

// zeros is how many of them b begins with.
func zeros(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "\x00")) }

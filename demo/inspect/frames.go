package inspect

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	// syncSearch is the number of bytes, after the tags, in which the first frame must
	// begin. An MP3 that was cut out of a stream may begin in the middle of a frame.
	syncSearch = 16 << 10
	// syncFrames is the number of consecutive frames that must be found before the first
	// one is accepted. Any large file contains four bytes that look like one header.
	syncFrames = 4
)

// frameScanner divides an MP3 file into frames. It leaves out the tags and the info frame.
// When there is no frame at the expected position, it returns an error. go-mp3 and most
// players would search for the next frame, and the damage would stay unnoticed.
type frameScanner struct {
	in             *input
	end            int64 // offset of the end of the audio
	tags           *tags
	first          mpegHeader // header of the first frame
	frames         int64      // number of frames so far, without the info frame
	bytes          int64      // total size of these frames
	constant       bool       // whether all frames so far have the same bit rate
	declaredFrames int64      // number of frames that the info frame gives; 0 if unknown
	frame          []byte     // buffer for the current frame
}

func newFrameScanner(in *input, t *tags) *frameScanner {
	s := &frameScanner{in: in, end: in.size, tags: t, constant: true}
	if bytes.HasPrefix(in.last, []byte("TAG")) && len(in.last) == id3v1Size {
		s.end -= id3v1Size
	}
	return s
}

// left returns the number of bytes up to the end of the audio.
func (s *frameScanner) left() int64 { return s.end - s.in.offset() }

// peek returns the next n bytes of audio without reading them, or fewer at the end.
func (s *frameScanner) peek(n int) []byte {
	return s.in.peek(int(min(int64(n), max(s.left(), 0))))
}

// start skips everything before the first frame, and the info frame if there is one.
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

// findFrame returns the offset in b of the first frame, or -1 if there is none. atEnd means
// that b ends at the end of the audio.
func findFrame(b []byte, atEnd bool) int {
	for at := range min(len(b), syncSearch) {
		first, ok := parseHeader(b[at:])
		for pos, n := at, 0; ok; n++ {
			// A short file may have fewer than syncFrames frames. One frame is
			// enough at offset 0; at another offset there must be two.
			if n == syncFrames || atEnd && pos+headerSize > len(b) && (at == 0 || n > 1) {
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

// next returns the next frame and its header, or io.EOF after the last one. The frame is
// valid until the next call.
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

// missingFrame returns the error for data that is not a frame. Zeros up to the end of the
// file are padding, and the result is that of checkEnd.
func (s *frameScanner) missingFrame() error {
	at := s.in.offset()
	for s.left() > 0 {
		ahead := s.peek(inputBuffer)
		if run := zeros(ahead); run == 0 || run < len(ahead) {
			return formatError("damaged at byte %d: there is no MPEG audio frame at this position", at)
		}
		if err := s.in.skip(int64(len(ahead))); err != nil {
			return err
		}
	}
	return s.checkEnd()
}

// checkEnd returns io.EOF, or an error if there are no frames or fewer than the info frame gives.
// One frame fewer is correct, because some encoders count the info frame. More frames are
// also correct: then other files were appended.
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

// skipTags skips the tags before the next frame. Tags are at the start of a file, and in the
// middle if a file was appended to another one. It stores the values of ID3v2 tags.
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
			// The length in an APEv2 header does not include the header itself.
			err = s.skipTag("APE", 32+int64(binary.LittleEndian.Uint32(head[12:])))
		case bytes.HasPrefix(head, []byte("LYRICSBEGIN")):
			err = s.skipTag("Lyrics3", s.left()) // its length is stored at its end, so skip the rest of the file
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

// zeros returns the number of zero bytes at the start of b.
func zeros(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "\x00")) }

package inspect

import (
	"errors"
	"io"
)

// feeder is the io.Reader from which go-mp3 reads the frames of a file. It changes the
// frames that go-mp3 would decode wrongly.
//
// go-mp3 is archived, so the faults of its last version, v0.3.4, cannot be repaired there:
//   - It computes a size that is one byte too small for a padded MPEG-2 frame if
//     144 × bit rate / sample rate is even, for example at 22050 Hz and 32 kbit/s (LAME's
//     default for the speech of espeak-ng). The byte is then missing from the bit
//     reservoir, and the following frames decode to noise without an error (compare
//     hajimehoshi/go-mp3#39). Such frames are repacked, see repacker.
//   - It refuses MPEG-2.5 (hajimehoshi/go-mp3#48). MPEG-2.5 differs from MPEG-2 only in its
//     sample rates, and its frequency bands at 11025 and 12000 Hz are those of MPEG-2 at
//     16000 Hz. Such frames are repacked, too.
//   - A frame may need data of earlier frames that are not in the file, because the file was
//     cut out of a longer one. go-mp3 decodes such a frame to noise, up to 4 dB louder than
//     the rest. Such frames are made silent.
//   - It allocates the size that an ID3v2 tag claims, and it skips damaged data without an
//     error. frameScanner therefore returns neither tags nor damaged data.
type feeder struct {
	scan             *frameScanner
	pending          []byte // unread rest of the current frame
	reservoir        []byte // bit reservoir: last main data of the frames so far
	decoderReservoir int    // number of bytes of the reservoir that go-mp3 has kept
	repacking        bool   // whether frames are repacked; stays true, because go-mp3 then lacks the reservoir of the file
	repacker         repacker
	err              error // reason why there are no more frames
}

// Read implements io.Reader for go-mp3. feeder has no method Seek: with an io.Seeker, go-mp3
// would read the file twice and store the position of each frame.
func (f *feeder) Read(p []byte) (int, error) {
	for len(f.pending) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.advance()
	}
	n := copy(p, f.pending)
	f.pending = f.pending[n:]
	return n, nil
}

// failure returns the error that ended the stream, or nil if it was read to its end.
func (f *feeder) failure() error {
	if errors.Is(f.err, io.EOF) {
		return nil
	}
	return f.err
}

// advance reads a frame and sets pending: to this frame or, when repacking, to the frame
// before it.
func (f *feeder) advance() {
	frame, h, err := f.scan.next()
	if err != nil {
		f.err, f.pending = err, f.repacker.flush()
		return
	}
	f.repacking = f.repacking || h.version == mpeg25 || h.size() != decoderSize(h)
	if f.repacking {
		f.pending, f.err = f.repacker.repack(frame, h, f.reservoir)
	} else {
		f.pending = f.passFrame(frame, h)
	}
	_, end := h.sideInfo()
	f.reservoir = append(f.reservoir, frame[end:]...)
	f.reservoir = append(f.reservoir[:0], f.reservoir[max(0, len(f.reservoir)-maxReservoir):]...)
}

// decoderSize returns the size in bytes that go-mp3 computes for an MPEG-1 or MPEG-2 frame.
func decoderSize(h mpegHeader) int {
	size := 144*h.bitRate/h.sampleRate + h.padding
	if h.version != mpeg1 {
		size /= 2
	}
	return size
}

// passFrame returns frame unchanged, or silent if it needs more of the bit reservoir than
// the decoder has.
func (f *feeder) passFrame(frame []byte, h mpegHeader) []byte {
	begin, end := h.sideInfo()
	side := sideInfo{frame[begin:end], h}
	if side.mainDataBegin() > f.decoderReservoir {
		side.silence(min(f.decoderReservoir, len(f.reservoir)))
	}
	f.decoderReservoir = side.mainDataBegin() + len(frame) - end
	return frame
}

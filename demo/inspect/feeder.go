package inspect

import (
	"errors"
	"io"
)

// feeder is the stream that go-mp3 reads: the frames of a file, those that it
// would decode wrongly put so that it decodes them right.
//
// go-mp3 decodes well what it gets right, but v0.3.4 is its last: it is
// archived, so its faults are met here.
//   - It takes a padded frame of MPEG-2 for a byte shorter than it is wherever
//     144 × bit rate / sample rate is even: 22050 Hz at 32 kbit/s among others.
//     The byte is then missing from the bit reservoir, and the frames after it
//     decode to noise, without an error (compare hajimehoshi/go-mp3#39). That
//     is what LAME makes of espeak-ng's speech by default.
//   - It refuses MPEG-2.5 (hajimehoshi/go-mp3#48). That differs from MPEG-2 in
//     rate only, and its bands at 11025 and 12000 Hz are those of 16000 Hz.
//   - It decodes to noise, up to 4 dB over the rest, a frame that needs bits of
//     one before it that it never saw. A file cut out of a longer one begins so.
//   - It allocates what an ID3v2 tag claims to hold, and finds the next frame
//     by searching, so a hole goes unseen: tags and holes do not get here.
//
// Frames of the first two sorts are repacked (repack.go), those of the third
// made silent.
type feeder struct {
	scan    *frameScanner
	pending []byte // of the frame that is being read
	// back is the bit reservoir: the end of the main data up to here.
	reservoir []byte
	// held is how much of it go-mp3 has kept.
	decoderReservoir int
	// repacking is for good: go-mp3 no longer has the file's reservoir then.
	repacking bool
	repacker  repacker
	err       error // why there are no more frames
}

// Read is what go-mp3 calls. It has no Seek beside it on purpose: with one,
// go-mp3 reads the file twice and remembers where each frame starts.
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

// failure is why the stream ended, nil if all of it was read.
func (f *feeder) failure() error {
	if errors.Is(f.err, io.EOF) {
		return nil
	}
	return f.err
}

// advance reads a frame and makes one pending: that, or if it was repacked the
// one before.
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

// decoderSize is what go-mp3 takes the size of an MPEG-1 or 2 frame for.
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

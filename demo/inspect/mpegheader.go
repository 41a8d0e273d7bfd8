package inspect

import "encoding/binary"

// Sources: ISO/IEC 11172-3 (MPEG-1 audio), 13818-3 (MPEG-2, lower rates);
// MPEG-2.5, lower still, is Fraunhofer's own and has no document.

// mpegVersion is as the header's two bits have it.
type mpegVersion uint32

const (
	mpeg25 mpegVersion = 0
	mpeg2  mpegVersion = 2
	mpeg1  mpegVersion = 3
)

const (
	headerSize = 4
	layer3     = 1 // as the header's two bits have it
	modeMono   = 3
)

var (
	// kilobits by version and the header's four bits, of layer III; the first,
	// "free format", and the last have no fixed rate.
	kilobits1 = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	kilobits2 = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}

	// mpeg1Rates are halved by each later version.
	mpeg1Rates = [4]int{44100, 48000, 32000}
)

// mpegHeader is the header of one frame of MPEG audio, layer III.
type mpegHeader struct {
	word       uint32
	version    mpegVersion
	bitRate    int // bit/s
	sampleRate int // Hz
	channels   int
	padding    int // bytes, 0 or 1
	crc        int // bytes, 0 or 2
}

// parseHeader reads the header that b begins with; ok tells whether it is one.
func parseHeader(b []byte) (h mpegHeader, ok bool) {
	if len(b) < headerSize {
		return h, false
	}
	word := binary.BigEndian.Uint32(b)
	h = mpegHeader{
		word:     word,
		version:  mpegVersion(word >> 19 & 3),
		padding:  int(word >> 9 & 1),
		channels: 2,
	}
	if word>>21 != 0x7FF || word>>17&3 != layer3 || word&3 == 2 {
		return h, false
	}
	kilobits := &kilobits2
	h.sampleRate = mpeg1Rates[word>>10&3]
	switch h.version {
	case mpeg1:
		kilobits = &kilobits1
	case mpeg2:
		h.sampleRate /= 2
	case mpeg25:
		h.sampleRate /= 4
	default:
		return h, false
	}
	h.bitRate = kilobits[word>>12&15] * 1000
	if word>>6&3 == modeMono {
		h.channels = 1
	}
	if word>>16&1 == 0 {
		h.crc = 2
	}
	return h, h.bitRate > 0 && h.sampleRate > 0
}

// samples is how many of each channel a frame holds.
func (h mpegHeader) samples() int {
	if h.version == mpeg1 {
		return 1152
	}
	return 576
}

// size is the length of the frame, header included, in bytes.
func (h mpegHeader) size() int {
	return h.samples()/8*h.bitRate/h.sampleRate + h.padding
}

// sideInfo is where the side information begins and ends.
func (h mpegHeader) sideInfo() (begin, end int) {
	begin = headerSize + h.crc
	switch {
	case h.version == mpeg1 && h.channels == 2:
		return begin, begin + 32
	case h.version == mpeg1 || h.channels == 2:
		return begin, begin + 17
	}
	return begin, begin + 9
}

// sameStream reports whether a frame with header o may follow one with h. The
// bit rate may differ, and the channels may.
func (h mpegHeader) sameStream(o mpegHeader) bool {
	return h.version == o.version && h.sampleRate == o.sampleRate
}

// freeFormat reports whether b begins with the header of a frame whose bit rate
// is none of the table. go-mp3 does not decode those, and hardly anything
// writes them.
func freeFormat(b []byte) bool {
	return len(b) >= headerSize && b[0] == 0xFF && b[1]>>1 == 0xFA>>1 && b[2]>>4 == 0
}

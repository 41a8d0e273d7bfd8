package inspect

import "encoding/binary"

// Sources: ISO/IEC 11172-3 (MPEG-1 audio) and 13818-3 (MPEG-2, lower sample rates). MPEG-2.5,
// with even lower sample rates, is an extension by Fraunhofer without a standard.

// mpegVersion is the version in the two bits of the header.
type mpegVersion uint32

const (
	mpeg25 mpegVersion = 0
	mpeg2  mpegVersion = 2
	mpeg1  mpegVersion = 3
)

const (
	headerSize = 4 // bytes
	layer3     = 1 // value of the two layer bits in the header
	modeMono   = 3 // value of the two channel mode bits in the header
)

var (
	// Bit rates in kbit/s of layer III, for MPEG-1 and for MPEG-2 and 2.5. The index is
	// the four bits of the header. The first entry means free format, the last one is
	// invalid; both are 0.
	kilobits1 = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	kilobits2 = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}

	// mpeg1Rates are the sample rates of MPEG-1 in Hz. Those of MPEG-2 are half of them,
	// and those of MPEG-2.5 a quarter.
	mpeg1Rates = [4]int{44100, 48000, 32000}
)

// mpegHeader is the header of one frame of MPEG audio, layer III.
type mpegHeader struct {
	word       uint32 // encoded header
	version    mpegVersion
	bitRate    int // bit/s
	sampleRate int // Hz
	channels   int
	padding    int // number of padding bytes, 0 or 1
	crc        int // number of CRC bytes, 0 or 2
}

// parseHeader decodes the header at the start of b. ok reports whether there is a valid one.
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

// samples returns the number of samples per channel in the frame.
func (h mpegHeader) samples() int {
	if h.version == mpeg1 {
		return 1152
	}
	return 576
}

// size returns the size of the frame in bytes, including the header.
func (h mpegHeader) size() int {
	return h.samples()/8*h.bitRate/h.sampleRate + h.padding
}

// sideInfo returns the offsets in the frame at which the side information begins and ends.
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

// sameStream reports whether a frame with header o may follow one with header h. The bit rate
// and the number of channels may differ.
func (h mpegHeader) sameStream(o mpegHeader) bool {
	return h.version == o.version && h.sampleRate == o.sampleRate
}

// freeFormat reports whether b begins with the header of a frame in free format, whose bit
// rate is not in the table. go-mp3 does not decode such frames, and few encoders write them.
func freeFormat(b []byte) bool {
	return len(b) >= headerSize && b[0] == 0xFF && b[1]>>1 == 0xFA>>1 && b[2]>>4 == 0
}

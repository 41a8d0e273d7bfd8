package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Encodings of WAVE sound, from mmreg.h.
const (
	encodingPCM        = 0x0001
	encodingFloat      = 0x0003
	encodingALaw       = 0x0006
	encodingMuLaw      = 0x0007
	encodingExtensible = 0xFFFE
)

// unsupportedEncodings are known encodings that this package does not decode.
var unsupportedEncodings = map[uint16]string{
	0x0002: "Microsoft ADPCM",
	0x0011: "IMA ADPCM",
	0x0031: "GSM 6.10",
	0x0040: "G.721 ADPCM",
	0x0050: "MPEG layer 1 or 2",
	0x0055: "MP3",
	0x00FF: "AAC",
}

// extensibleGUID is the end of a WAVE_FORMAT_EXTENSIBLE subformat whose first two bytes are one
// of the encodings above.
var extensibleGUID = []byte{0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71}

// wavFormat is the content of a fmt chunk, after validation.
type wavFormat struct {
	sampleRate int // Hz
	channels   int
	bits       int // number of used bits in a sample
	sampleSize int // size of a sample in bytes
	frameSize  int // size in bytes of one sample of each channel
	decode     func(samples []float64, raw []byte)
}

// readFormat reads and checks a fmt chunk. It does not read the end of a longer chunk.
func readFormat(r io.Reader) (*wavFormat, error) {
	var raw [40]byte // size of WAVE_FORMAT_EXTENSIBLE
	n, err := io.ReadFull(r, raw[:])
	if n < 16 {
		if endOfFile(err) {
			err = formatError("fmt chunk of %d bytes is too short", n)
		}
		return nil, err
	}
	le := binary.LittleEndian
	encoding := le.Uint16(raw[0:])
	f := &wavFormat{
		channels:   int(le.Uint16(raw[2:])),
		sampleRate: int(le.Uint32(raw[4:])),
		frameSize:  int(le.Uint16(raw[12:])),
		bits:       int(le.Uint16(raw[14:])),
	}
	container := f.bits
	if encoding == encodingExtensible {
		if n < len(raw) || !bytes.Equal(raw[26:], extensibleGUID) {
			return nil, formatError("fmt chunk has an unknown extensible format")
		}
		encoding = le.Uint16(raw[24:])
		if valid := int(le.Uint16(raw[18:])); valid > 0 && valid <= container {
			f.bits = valid
		}
	}
	return f, f.check(encoding, container)
}

// check sets the sample size and the decoder. It returns an error if the fields contradict each
// other or the encoding is not supported. container is the number of bits in a sample,
// including unused ones.
func (f *wavFormat) check(encoding uint16, container int) error {
	if name, ok := unsupportedEncodings[encoding]; ok {
		return formatError("%s inside a WAVE file is not supported, convert it to PCM", name)
	}
	switch {
	case f.channels == 0:
		return formatError("the fmt chunk declares 0 channels")
	case f.sampleRate == 0:
		return formatError("the fmt chunk declares a sample rate of 0 Hz")
	case f.frameSize == 0 || f.frameSize%f.channels != 0:
		return formatError("the fmt chunk declares %d channels in frames of %d bytes", f.channels, f.frameSize)
	}
	f.sampleSize = f.frameSize / f.channels
	f.decode = pcmDecoder(encoding, f.sampleSize)
	if f.decode == nil {
		return formatError("encoding %#04x with %d bytes per sample is not supported, convert it to PCM", encoding, f.sampleSize)
	}
	if container == 0 || container > f.sampleSize*8 {
		return formatError("the fmt chunk declares %d bits in %s", container, plural(f.sampleSize, "byte"))
	}
	return nil
}

// plural returns "1 noun" or "n nouns".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

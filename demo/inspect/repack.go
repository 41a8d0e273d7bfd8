package inspect

import "encoding/binary"

const (
	// decoderRate is what go-mp3 has to take a frame of MPEG-2.5 to be at.
	decoderRate = 16000
	// packedIndex is the bit rate of all packed frames, as their header has it:
	// the highest that MPEG-2 has, 160 kbit/s.
	packedIndex = 14
)

// repacker writes the sound of MPEG-2 and 2.5 frames into frames that go-mp3
// decodes: of MPEG-2, not padded, all of one size. As in any MP3 the main data
// of a frame begins in the one before if there is room: some have more than a
// frame of that size holds. So each is kept until the next is known.
//
// Padding is half a byte a frame at 22050 Hz. Stereo at 160 kbit/s that needs
// every byte of it does not fit, and is refused.
type repacker struct {
	last, next packed
	raw        []byte // the frame that was returned
}

// packed is a frame before it is written.
type packed struct {
	word     uint32 // its header
	size     int    // bytes, 0 if there is no frame
	side     []byte
	main     []byte // its main data, without the part in the previous frame
	nextMain []byte // main data of the next frame
}

// repack takes a frame and the bit reservoir before it, and returns the frame
// that it was called with last, none the first time. It is good until the next
// call.
func (p *repacker) repack(frame []byte, h mpegHeader, reservoir []byte) ([]byte, error) {
	begin, end := h.sideInfo()
	side := sideInfo{frame[begin:end], h}
	back := side.mainDataBegin()
	if back > len(reservoir) {
		side.silence(0) // as feeder.pass does
		back = 0
	}
	n, l := &p.next, &p.last
	if err := n.header(h); err != nil {
		return nil, err
	}
	n.side = append(n.side[:0], side.raw...)
	n.main = append(append(n.main[:0], reservoir[len(reservoir)-back:]...), frame[end:]...)
	n.main = n.main[:min(side.mainDataSize(), len(n.main))]

	inLast := min(len(n.main), l.free(), maxReservoir/2)
	n.side[0] = byte(inLast) // distance to the begin of the main data, in bytes
	l.nextMain = append(l.nextMain[:0], n.main[:inLast]...)
	n.main = append(n.main[:0], n.main[inLast:]...)
	if n.free() < 0 {
		return nil, formatError("so much sound in %d kbit/s at %d Hz is not supported, encode it at another rate", h.bitRate/1000, h.sampleRate)
	}
	raw := p.flush()
	p.last, p.next = p.next, p.last
	return raw, nil
}

// flush returns the last frame, if there is one.
func (p *repacker) flush() []byte {
	l := &p.last
	p.raw = p.raw[:0]
	if l.size > 0 {
		p.raw = binary.BigEndian.AppendUint32(p.raw, l.word)
		p.raw = append(p.raw, l.side...)
		p.raw = append(p.raw, l.main...)
		p.raw = append(p.raw, make([]byte, l.size-len(p.raw)-len(l.nextMain))...)
		p.raw = append(p.raw, l.nextMain...)
	}
	*l = packed{side: l.side, main: l.main, nextMain: l.nextMain[:0]}
	return p.raw
}

// header makes the frame one without padding and CRC, in place of one with h.
func (f *packed) header(h mpegHeader) error {
	f.word = h.word&^(3<<19|15<<12|1<<9) | uint32(mpeg2)<<19 | 1<<16 | packedIndex<<12
	rate := h.sampleRate
	if h.version == mpeg25 {
		if rate < 11025 {
			return formatError("MPEG-2.5 at %d Hz is not supported, encode it at %d Hz or more", rate, decoderRate)
		}
		rate = decoderRate
		f.word = f.word&^(3<<10) | 2<<10
	}
	f.size = 72 * kilobits2[packedIndex] * 1000 / rate
	return nil
}

// free returns the number of bytes of main data that still fit into the frame.
func (f *packed) free() int {
	if f.size == 0 {
		return 0
	}
	return f.size - headerSize - len(f.side) - len(f.main)
}

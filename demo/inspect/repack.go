package inspect

import "encoding/binary"

const (
	// decoderRate is the sample rate in Hz that a repacked MPEG-2.5 frame declares.
	decoderRate = 16000
	// packedIndex is the index of the bit rate of all repacked frames: the highest of
	// MPEG-2, 160 kbit/s.
	packedIndex = 14
)

// repacker copies the sound of MPEG-2 and 2.5 frames into frames that go-mp3 decodes
// correctly: MPEG-2, without padding, all of the same size. The main data of some frames does
// not fit into that size. As in any MP3, main data then begins in the free space of the
// previous frame. Therefore repacker keeps each frame until it has read the next one.
//
// At 22050 Hz padding adds half a byte per frame on average. A stereo file of 160 kbit/s that
// uses all of it does not fit; repack returns an error.
type repacker struct {
	last, next packed
	raw        []byte // buffer for the frame that is returned
}

// packed is a frame before it is encoded.
type packed struct {
	word     uint32 // header
	size     int    // bytes, 0 if there is no frame
	side     []byte // side information
	main     []byte // main data, without the part in the previous frame
	nextMain []byte // first part of the main data of the next frame
}

// repack adds a frame; reservoir is the bit reservoir before it. It returns the frame of the
// previous call, or no bytes at the first call. The result is valid until the next call.
func (p *repacker) repack(frame []byte, h mpegHeader, reservoir []byte) ([]byte, error) {
	begin, end := h.sideInfo()
	side := sideInfo{frame[begin:end], h}
	back := side.mainDataBegin()
	if back > len(reservoir) {
		side.silence(0) // as in feeder.passFrame
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
	n.side[0] = byte(inLast) // number of bytes before this frame at which its main data begins
	l.nextMain = append(l.nextMain[:0], n.main[:inLast]...)
	n.main = append(n.main[:0], n.main[inLast:]...)
	if n.free() < 0 {
		return nil, formatError("MP3 of %d kbit/s at %d Hz that uses its full bit rate is not supported, encode it at another bit rate", h.bitRate/1000, h.sampleRate)
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

// header sets the header and size of the frame. They are those of h, changed to MPEG-2 without
// padding and CRC.
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

package inspect

// maxReservoir is how far back the main data of a frame may begin, in bytes:
// what nine bits can say. MPEG-2 has eight.
const maxReservoir = 511

// sideInfo is the side information of a frame: what its main data means.
type sideInfo struct {
	raw []byte
	h   mpegHeader
}

// mainDataBegin is how many bytes before this frame its main data begins, the
// headers and side information between left out.
func (s sideInfo) mainDataBegin() int {
	if s.h.version == mpeg1 {
		return int(s.raw[0])<<1 | int(s.raw[1])>>7
	}
	return int(s.raw[0])
}

// mainDataSize is how many bytes of main data the frame uses, of an MPEG-2 or
// 2.5 frame. They need not be all that it carries.
func (s sideInfo) mainDataSize() int {
	bits := 0
	// Of each channel 63 bits, after a few of which all share; the first twelve
	// tell how many bits of main data the channel has.
	at := 8 + s.h.channels // 1 private bit in mono, 2 in stereo
	for range s.h.channels {
		bits += s.bits12(at)
		at += 63
	}
	return (bits + 7) / 8
}

// bits12 are those from bit at on. They always lie within three bytes, and side
// information goes on for longer than that.
func (s sideInfo) bits12(at int) int {
	b := s.raw[at/8:]
	return int(uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2])) >> (12 - at%8) & 0xFFF
}

// silence makes the frame a silent one whose main data begins back bytes before
// it: a decoder keeps as many for the next.
func (s sideInfo) silence(back int) {
	clear(s.raw)
	if s.h.version == mpeg1 {
		s.raw[0], s.raw[1] = byte(back>>1), byte(back<<7)
		return
	}
	s.raw[0] = byte(min(back, maxReservoir/2))
}

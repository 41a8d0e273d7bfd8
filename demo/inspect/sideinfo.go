package inspect

// maxReservoir is the largest number of bytes before a frame at which its main data may begin.
// MPEG-1 stores it in nine bits. MPEG-2 has only eight, so its limit is maxReservoir/2.
const maxReservoir = 511

// sideInfo is the side information of a frame. A decoder needs it to decode the main data.
type sideInfo struct {
	raw []byte
	h   mpegHeader
}

// mainDataBegin returns the number of bytes before this frame at which its main data begins.
// Headers and side information of the frames in between are not counted.
func (s sideInfo) mainDataBegin() int {
	if s.h.version == mpeg1 {
		return int(s.raw[0])<<1 | int(s.raw[1])>>7
	}
	return int(s.raw[0])
}

// mainDataSize returns the number of bytes of main data that an MPEG-2 or 2.5 frame uses. The
// frame may contain more.
func (s sideInfo) mainDataSize() int {
	bits := 0
	// A few common bits are followed by 63 bits for each channel. The first twelve of
	// them are the number of bits of main data of the channel.
	at := 8 + s.h.channels // eight bits of mainDataBegin, and 1 private bit in mono or 2 in stereo
	for range s.h.channels {
		bits += s.bits12(at)
		at += 63
	}
	return (bits + 7) / 8
}

// bits12 returns the twelve bits that begin at bit at. They are always within three bytes, and
// the side information is never shorter than at/8 + 3 bytes.
func (s sideInfo) bits12(at int) int {
	b := s.raw[at/8:]
	return int(uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2])) >> (12 - at%8) & 0xFFF
}

// silence makes the frame silent. back becomes the number of bytes before the frame at which
// its main data begins, so that the decoder keeps these bytes for the next frame.
func (s sideInfo) silence(back int) {
	clear(s.raw)
	if s.h.version == mpeg1 {
		s.raw[0], s.raw[1] = byte(back>>1), byte(back<<7)
		return
	}
	s.raw[0] = byte(min(back, maxReservoir/2))
}

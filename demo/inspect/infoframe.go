package inspect

import (
	"bytes"
	"encoding/binary"
)

// infoFrame reports whether frame is no sound but tells about the others, and
// how many it says there are, 0 if it does not say: LAME's "Xing" (variable bit
// rate) and "Info" (constant), Fraunhofer's "VBRI". Players leave it out.
//
// Sources: http://gabriel.mp3-tech.org/mp3infotag.html; Konrad Windszus, "MPEG
// Audio Frame Header" (VBRI).
func infoFrame(frame []byte, h mpegHeader) (frames int64, ok bool) {
	begin, end := h.sideInfo()
	// LAME puts it where it would be without a CRC even if there is one.
	for _, at := range []int{end, end - h.crc} {
		if len(frame) < at+12 {
			continue
		}
		tag := frame[at:]
		if bytes.HasPrefix(tag, []byte("Xing")) || bytes.HasPrefix(tag, []byte("Info")) {
			if tag[7]&1 != 0 { // flag: the number of frames is given
				frames = int64(binary.BigEndian.Uint32(tag[8:]))
			}
			return frames, true
		}
	}
	// VBRI is always 32 bytes after the header, whatever the side information.
	if at := begin - h.crc + 32; len(frame) >= at+18 && bytes.HasPrefix(frame[at:], []byte("VBRI")) {
		return int64(binary.BigEndian.Uint32(frame[at+14:])), true
	}
	return 0, false
}

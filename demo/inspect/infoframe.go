package inspect

import (
	"bytes"
	"encoding/binary"
)

// infoFrame reports whether frame is an info frame, and returns the number of frames that it
// gives, or 0 if it gives none. An info frame is the first frame of many files. It contains
// no sound but data about the file, and players do not play it. There are three kinds:
// "Xing" (variable bit rate) and "Info" (constant bit rate) of LAME, and "VBRI" of
// Fraunhofer.
//
// Sources: http://gabriel.mp3-tech.org/mp3infotag.html; Konrad Windszus, "MPEG
// Audio Frame Header" (VBRI).
func infoFrame(frame []byte, h mpegHeader) (frames int64, ok bool) {
	begin, end := h.sideInfo()
	// LAME writes the data to the same position with and without a CRC.
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
	// VBRI is always 32 bytes after the header, whatever the size of the side information.
	if at := begin - h.crc + 32; len(frame) >= at+18 && bytes.HasPrefix(frame[at:], []byte("VBRI")) {
		return int64(binary.BigEndian.Uint32(frame[at+14:])), true
	}
	return 0, false
}

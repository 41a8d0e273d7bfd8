package realtime

import "encoding/binary"

// Parts of the header of a frame (RFC 6455 §5.2).
const (
	finBit       = 0x80
	maxLength7   = 125 // longest payload whose length is in the second byte
	length16     = 126 // value of the second byte: the length follows in two bytes
	length64     = 127 // value of the second byte: the length follows in eight bytes
	maxLength16  = 1<<16 - 1
	maxFrameHead = 10
	closeFrame   = 0x88
)

// appendFrameHead appends the header of a frame that contains a whole message or control
// frame. kind is its opcode. Frames of a server are not masked.
func appendFrameHead(b []byte, kind, length int) []byte {
	b = append(b, finBit|byte(kind))
	switch {
	case length <= maxLength7:
		return append(b, byte(length))
	case length <= maxLength16:
		return binary.BigEndian.AppendUint16(append(b, length16), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(b, length64), uint64(length))
}

// newFrame returns a frame that contains data.
func newFrame(kind int, data []byte) []byte {
	return append(appendFrameHead(make([]byte, 0, maxFrameHead+len(data)), kind, len(data)), data...)
}

package inspect

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// setMainDataSize sets the number of bytes of main data in the side information.
func setMainDataSize(side []byte, channels, size int) {
	at := 8 + channels
	for range channels {
		n := min(size*8, 4095/8*8)
		for i := range 12 {
			if n>>(11-i)&1 != 0 {
				side[(at+i)/8] |= 0x80 >> ((at + i) % 8)
			}
		}
		size -= n / 8
		at += 63
	}
}

// stream generates frames like an encoder: each one uses a random part of the main data that
// fits into the reservoir and its own frame. It returns the frames and the main data of each.
func stream(r *rand.Rand, n int, header func(i int) []byte) (frames, mains [][]byte) {
	var written []byte // all main data so far, used or not
	unused := 0        // number of unused bytes at its end
	for i := range n {
		h, _ := parseHeader(header(i))
		begin, end := h.sideInfo()
		frame := make([]byte, h.size())
		copy(frame, header(i))
		for k := end; k < len(frame); k++ {
			frame[k] = byte(r.Uint32())
		}
		back := min(unused, maxReservoir/2)
		written = append(written, frame[end:]...)
		has := back + len(frame) - end
		size := min(r.IntN(has+1), h.channels*4095/8)
		if r.IntN(4) == 0 {
			size = min(has, h.channels*4095/8) // a loud sound uses all of it
		}
		frame[begin] = byte(back)
		setMainDataSize(frame[begin:end], h.channels, size)
		frames = append(frames, frame)
		mains = append(mains, bytes.Clone(written[len(written)-has:][:size]))
		unused = has - size
	}
	return frames, mains
}

// repackAll repacks frames and returns the main data that a decoder finds in them.
func repackAll(t *testing.T, frames, mains [][]byte) [][]byte {
	t.Helper()
	var p repacker
	var reservoir, written []byte
	var got [][]byte
	take := func(raw []byte) {
		if len(raw) == 0 {
			return
		}
		h, ok := parseHeader(raw)
		if !ok || h.version != mpeg2 || h.padding+h.crc != 0 || h.size() != len(raw) || h.size() != decoderSize(h) {
			t.Fatalf("frame %d of %d bytes, %+v", len(got), len(raw), h)
		}
		begin, end := h.sideInfo()
		side := sideInfo{raw[begin:end], h}
		from := len(written) - side.mainDataBegin()
		written = append(written, raw[end:]...)
		got = append(got, bytes.Clone(written[from:][:side.mainDataSize()]))
	}
	for _, frame := range frames {
		h, _ := parseHeader(frame)
		raw, err := p.repack(bytes.Clone(frame), h, reservoir)
		if err != nil {
			t.Fatal(err)
		}
		take(raw)
		_, end := h.sideInfo()
		reservoir = append(reservoir, frame[end:]...)
		reservoir = reservoir[max(0, len(reservoir)-maxReservoir):]
	}
	take(p.flush())
	if len(p.flush()) > 0 || len(got) != len(mains) {
		t.Errorf("%d frames became %d", len(mains), len(got))
	}
	return got
}

func TestRepackingKeepsTheMainData(t *testing.T) {
	for name, header := range map[string]func(i int) []byte{
		"22050 Hz, 32 kbit/s, mono":    func(i int) []byte { return []byte{0xFF, 0xF3, 0x40 | byte(i%2)<<1, 0xC0} },
		"22050 Hz, 96 kbit/s, stereo":  func(i int) []byte { return []byte{0xFF, 0xF3, 0xA0 | byte(i%2)<<1, 0x00} },
		"22050 Hz, with a CRC":         func(i int) []byte { return []byte{0xFF, 0xF2, 0x80 | byte(i%2)<<1, 0x40} },
		"11025 Hz, 64 kbit/s, stereo":  func(i int) []byte { return []byte{0xFF, 0xE3, 0x80 | byte(i%2)<<1, 0x40} },
		"12000 Hz, all the bit rates":  func(i int) []byte { return []byte{0xFF, 0xE3, byte(i%8+1)<<4 | 1<<2, 0xC0} },
		"22050 Hz, mono and then more": func(i int) []byte { return []byte{0xFF, 0xF3, 0x42, 0xC0 * byte(1-i/50%2)} },
	} {
		t.Run(name, func(t *testing.T) {
			frames, mains := stream(rand.New(rand.NewPCG(1, 2)), 200, header)
			for i, got := range repackAll(t, frames, mains) {
				if !bytes.Equal(got, mains[i]) {
					t.Fatalf("frame %d: %d bytes of main data, not the %d it had", i, len(got), len(mains[i]))
				}
			}
		})
	}
}

// A stream that does not fit into the repacked frames causes an error. It is not decoded
// wrongly.
func TestRepackingTooMuch(t *testing.T) {
	var p repacker
	header := []byte{0xFF, 0xF3, 0xE2, 0x00} // 160 kbit/s, stereo, padded
	h, _ := parseHeader(header)
	_, end := h.sideInfo()
	var err error
	for range 10 {
		frame := make([]byte, h.size())
		copy(frame, header)
		setMainDataSize(frame[headerSize:end], 2, h.size()-end)
		if _, err = p.repack(frame, h, nil); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "MP3 of 160 kbit/s at 22050 Hz that uses its full bit rate is not supported") {
		t.Errorf("got %v", err)
	}
}

// A frame whose main data begins before the start of the file is silent. The next one is not.
func TestRepackingWithoutTheReservoir(t *testing.T) {
	header := func(i int) []byte { return []byte{0xFF, 0xF3, 0x80 | byte(i%2)<<1, 0xC0} }
	frames, mains := stream(rand.New(rand.NewPCG(3, 4)), 20, header)
	cut := 1
	for frames[cut][headerSize] == 0 || len(mains[cut]) == 0 || int(frames[cut+1][headerSize]) > len(frames[cut])-13 {
		cut++
	}
	got := repackAll(t, frames[cut:], mains[cut:])
	if len(got[0]) != 0 {
		t.Errorf("the first frame has %d bytes of main data that it cannot have", len(got[0]))
	}
	for i := 1; i < len(got); i++ {
		if !bytes.Equal(got[i], mains[cut+i]) {
			t.Errorf("frame %d lost its main data", i)
		}
	}
}

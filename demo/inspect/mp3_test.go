package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/pool"
)

// frameStarts returns the offsets at which the frames of a file begin, and the end of the last
// one.
func frameStarts(t *testing.T, file []byte) []int {
	t.Helper()
	at := findFrame(file[:min(len(file), inputBuffer)], false)
	if at < 0 {
		t.Fatal("no frames")
	}
	var starts []int
	for {
		h, ok := parseHeader(file[at:])
		starts = append(starts, at)
		if !ok {
			return starts
		}
		at += h.size()
	}
}

// silent returns n frames of silence with the given header. The bit rate must be large enough
// for the side information.
func silent(n int, header ...byte) []byte {
	h, ok := parseHeader(header)
	if !ok {
		panic("not a header")
	}
	frame := make([]byte, h.size())
	copy(frame, header)
	return bytes.Repeat(frame, n)
}

func TestBrokenMP3(t *testing.T) {
	vbr, cbr := sound(t, "speech.mp3"), sound(t, "speech-22050-cbr.mp3")
	frames := frameStarts(t, vbr) // the first is the Xing frame
	mid := cbr[:len(cbr)-60]
	hole := bytes.Clone(cbr)
	clear(hole[4000:6000])
	glued := slices.Concat(cbr[:4000], []byte("something else"), cbr[4000:])
	id3 := []byte("ID3\x03\x00\x00\x7f\x7f\x7f\x7f")
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"one byte", vbr[:1], "no MPEG audio frame found"},
		{"text", bytes.Repeat([]byte("Dear diary, this is no music. "), 5000), "no MPEG audio frame found"},
		{"zeros", make([]byte, 100000), "no MPEG audio frame found"},
		{"cut in a frame", mid, "the last frame is truncated: 44 of 104 bytes"},
		{"cut in a header", cbr[:len(cbr)-102], "there is no MPEG audio frame at this position"},
		{"cut half way", vbr[:len(vbr)/2], "the last frame is truncated"},
		{"cut between frames", vbr[:frames[101]], "the file is truncated: 100 of 226 frames"},
		{"cut after the Xing frame", vbr[:frames[1]], "the file is truncated: 0 of 226 frames"},
		{"cut in the Xing frame", vbr[:frames[0]+50], "the last frame is truncated: 50 of"},
		{"cut in the tag", vbr[:frames[0]-10], "ID3 tag is truncated"},
		{"256 MiB of tag in ten bytes", id3, "ID3 tag is truncated"},
		{"4 GiB of APE tag", slices.Concat(cbr, []byte("APETAGEX\xd0\x07\x00\x00\xff\xff\xff\xff"), make([]byte, 16)), "APE tag is truncated: 32 of 4294967327"},
		{"zeros in the middle", hole, "damaged at byte 4075"},
		{"something in the middle", glued, "damaged at byte 4075"},
		{"another rate in the middle", slices.Concat(cbr, sound(t, "speech-11025.mp3")), "damaged at byte 10240"},
		{"free format", slices.Concat([]byte{0xFF, 0xFB, 0x00, 0xC0}, make([]byte, 5000)), "free format is not supported"},
		{"8000 Hz", silent(9, 0xFF, 0xE3, 0x48, 0xC0), "MPEG-2.5 at 8000 Hz is not supported, encode it at 16000 Hz or more"},
		{"layer II", bytes.Repeat([]byte{0xFF, 0xFD, 0x48, 0xC0}, 999), "an MPEG layer II file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := inspect(t, "x.mp3", c.file)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %+v; want ErrFormat: %s", err, r, c.want)
			}
			if w != nil {
				t.Error("a waveform of a broken file")
			}
		})
	}
}

// A file that was truncated at any byte must cause an error. The only exception is between two
// frames, if no info frame gives the number of frames.
func TestTruncatedMP3(t *testing.T) {
	file := sound(t, "speech-22050-cbr.mp3")
	starts := frameStarts(t, file)[:12]
	file = file[:starts[11]]
	for n := len(file) - 300; n < len(file); n++ {
		r, _, err := inspect(t, "x.mp3", file[:n])
		if slices.Contains(starts, n) {
			if err != nil {
				t.Errorf("%d bytes, whole frames: %v", n, err)
			}
		} else if !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes: %v, %+v", n, err, r)
		}
	}
}

// Damage inside a frame may make go-mp3 panic. The error text is for the user; the panic and
// its stack are for the log.
func TestPanicInDecoder(t *testing.T) {
	file := sound(t, "speech-11025.mp3")
	file[479] ^= 1 << 5
	_, _, err := inspect(t, "x.mp3", file)
	if p, ok := errors.AsType[*pool.PanicError](err); !ok || len(p.Stack) == 0 {
		t.Fatalf("got %v, without its panic", err)
	}
	if !errors.Is(err, ErrFormat) || err.Error() != ErrFormat.Error()+": the sound cannot be decoded at 0.05 s" {
		t.Error(err)
	}
}

// A file that players can play is inspected, even if other data surrounds the sound.
func TestTolerableMP3(t *testing.T) {
	cbr, vbr := sound(t, "speech-22050-cbr.mp3"), sound(t, "speech.mp3")
	starts := frameStarts(t, cbr)
	ape := append([]byte("APETAGEX\xd0\x07\x00\x00\x20\x00\x00\x00"), make([]byte, 48)...)
	for _, c := range []struct {
		name   string
		file   []byte
		frames int
	}{
		{"unchanged", cbr, 98},
		{"zeros before", append(make([]byte, 200000), cbr...), 98},
		{"zeros after", append(bytes.Clone(cbr), make([]byte, 200000)...), 98},
		{"APE tag", append(bytes.Clone(cbr), ape...), 98},
		{"Lyrics3 tag", append(bytes.Clone(cbr), "LYRICSBEGIN la la la LYRICS200"...), 98},
		{"begins in the middle of a frame", cbr[starts[10]+33:], 87},
		{"first frames are missing", cbr[starts[10]:], 88},
		{"one frame", cbr[:starts[1]], 1},
		{"two files in one", append(bytes.Clone(cbr), cbr...), 196},
		{"two files with tags in one", append(bytes.Clone(vbr), vbr...), 453}, // the second Xing frame counts as a silent frame
	} {
		r, _, err := inspect(t, "x.mp3", c.file)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := r.Duration * 22050 / 576; math.Round(got) != float64(c.frames) {
			t.Errorf("%s: %v frames, want %d", c.name, got, c.frames)
		}
	}
}

// Frames that need a bit reservoir which is not in the file become silent. The loudness of the
// other frames does not change.
func TestMissingReservoir(t *testing.T) {
	for _, name := range []string{"speech-22050-cbr.mp3", "speech-44100-stereo.mp3"} {
		file := sound(t, name)
		whole, _, err := inspect(t, name, file)
		if err != nil {
			t.Fatal(err)
		}
		starts := frameStarts(t, file)
		r, _, err := inspect(t, name, file[starts[5]:])
		if err != nil {
			t.Fatal(err)
		}
		within(t, "peak of "+name, *r.PeakDBFS, *whole.PeakDBFS)
		if math.Abs(*r.RMSDBFS-*whole.RMSDBFS) > 0.5 {
			t.Errorf("RMS of %s without its start is %v, whole %v", name, *r.RMSDBFS, *whole.RMSDBFS)
		}
	}
}

// No frame may refer to main data that go-mp3 did not get. All other frames are passed to
// go-mp3 unchanged.
func TestFeederReservoir(t *testing.T) {
	file := sound(t, "speech-44100-stereo.mp3")
	starts := frameStarts(t, file)
	silenced := 0
	for first := range starts[:20] {
		cut := file[starts[first+1]:]
		in, err := newInput(t.Context(), bytes.NewReader(cut), nil)
		if err != nil {
			t.Fatal(err)
		}
		f := &feeder{scan: newFrameScanner(in, newTags())}
		if err := f.scan.start(); err != nil {
			t.Fatal(err)
		}
		fed, err := io.ReadAll(f)
		if err != nil || len(fed) != len(cut)-id3v1Size {
			t.Fatalf("%d of %d bytes were fed, %v", len(fed), len(cut)-id3v1Size, err)
		}
		held := 0
		for at := 0; at < len(fed); {
			h, _ := parseHeader(fed[at:])
			begin, end := h.sideInfo()
			frame := fed[at : at+h.size()]
			back := sideInfo{frame[begin:end], h}.mainDataBegin()
			if back > held {
				t.Fatalf("from frame %d: %d bytes back, there are %d", first, back, held)
			}
			if !bytes.Equal(frame, cut[at:at+h.size()]) {
				silenced++
			}
			held = back + len(frame) - end
			at += h.size()
		}
	}
	if silenced == 0 || silenced > 3*20 {
		t.Errorf("%d frames were silenced", silenced)
	}
}

func TestSilentMP3(t *testing.T) {
	for name, file := range map[string][]byte{
		"MPEG-1":   silent(20, 0xFF, 0xFB, 0x90, 0x00),
		"MPEG-2":   silent(20, 0xFF, 0xF3, 0x40, 0xC0),
		"MPEG-2.5": silent(20, 0xFF, 0xE3, 0x40, 0xC0),
	} {
		r, _, err := inspect(t, "x.mp3", file)
		if err != nil || r.PeakDBFS != nil || r.RMSDBFS != nil || r.Duration == 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestInfoFrames(t *testing.T) {
	h, _ := parseHeader([]byte{0xFF, 0xFB, 0x90, 0x00}) // stereo: side information of 32 bytes
	crc, _ := parseHeader([]byte{0xFF, 0xFA, 0x90, 0x00})
	at := func(offset int, text string, number ...byte) []byte {
		frame := make([]byte, 417)
		copy(frame[offset:], append([]byte(text), number...))
		return frame
	}
	for name, c := range map[string]struct {
		frame []byte
		h     mpegHeader
		want  int64
		ok    bool
	}{
		"Xing":            {at(36, "Xing", 0, 0, 0, 1, 0, 0, 1, 2), h, 258, true},
		"without a count": {at(36, "Info", 0, 0, 0, 2, 0, 0, 1, 2), h, 0, true},
		"after a CRC":     {at(38, "Xing", 0, 0, 0, 1, 0, 0, 0, 9), crc, 9, true},
		"despite a CRC":   {at(36, "Info", 0, 0, 0, 1, 0, 0, 0, 9), crc, 9, true},
		"VBRI":            {at(36, "VBRI", 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7), h, 7, true},
		"sound":           {at(40, "Xing"), h, 0, false},
		"too short":       {at(36, "Xing")[:40], h, 0, false},
	} {
		if got, ok := infoFrame(c.frame, c.h); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
}

// TLEN is used if the padding of an encoder explains the difference.
func TestDurationFromTag(t *testing.T) {
	for declared, want := range map[string]float64{"2500": 2.5, "2000": 2.56, "2600": 2.56, "0": 2.56, "-1": 2.56, "soon": 2.56} {
		text := append([]byte("TLEN"), binary.BigEndian.AppendUint32(nil, uint32(len(declared)+1))...)
		text = append(append(text, 0, 0, 0), declared...)
		head := append([]byte("ID3\x03\x00\x00\x00\x00\x00"), byte(len(text)))
		r, _, err := inspect(t, "x.mp3", slices.Concat(head, text, sound(t, "speech-22050-cbr.mp3")))
		if err != nil || r.Duration != want {
			t.Errorf("%q: %v s, want %v, %v", declared, r.Duration, want, err)
		}
	}
}

package inspect

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
)

// counted counts the reads of a file and the bytes that they return.
type counted struct {
	io.ReadSeeker
	reads, bytes int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.reads++
	c.bytes += n
	return n, err
}

// FuzzInspect inspects random files as WAV and as MP3. The result must be a report or an
// error that wraps ErrFormat, with few reads and little memory.
func FuzzInspect(f *testing.F) {
	for _, name := range []string{"speech.wav", "speech.mp3", "speech-22050-cbr.mp3", "speech-11025.mp3", "speech-44100-stereo.mp3"} {
		file := sound(f, name)
		for _, seed := range [][]byte{file[:min(len(file), 6000)], file[len(file)-2000:]} {
			f.Add(seed, false)
			f.Add(seed, true)
		}
	}
	for _, seed := range [][]byte{
		nil,
		[]byte("RIFF"),
		wave{}.file(sine(100, 1)),
		wave{encoding: encodingFloat, bytes: 8, valid: 64, channels: 3}.file(sine(50, 3)),
		wave{encoding: encodingMuLaw, bytes: 1, data: 0xFFFFFFFF, riff: 0xFFFFFFFF}.file(sine(50, 1)),
		wave{before: textChunk("LIST", "INFOINAM\xff\xff\xff\xffGale"), after: chunk("id3 ", id3Tag(4, flagUnsync, id3v24("TIT2", 3, 0, 0, 0, 1, 0xFF, 0))...)}.file(sine(50, 1)),
		slices.Concat([]byte("RF64\xff\xff\xff\xffWAVE"), chunk("ds64", bytes.Repeat([]byte{0xFF}, 28)...), wave{data: 0xFFFFFFFF}.file(nil)[12:]),
		slices.Concat(id3Tag(3, flagExtended, []byte{0xFF, 0xFF, 0xFF, 0xFF}), silent(5, 0xFF, 0xFB, 0x90, 0x00)),
		slices.Concat(id3Tag(2, flagUnsync, []byte("TT2\xff\xff\xffGale")), silent(5, 0xFF, 0xF3, 0x40, 0xC0), []byte("APETAGEX")),
		silent(5, 0xFF, 0xE3, 0x40, 0x00),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, file []byte, mp3 bool) {
		name := "x.wav"
		if mp3 {
			name = "x.mp3"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		in := &counted{ReadSeeker: bytes.NewReader(file)}
		r, w, err := Inspect(t.Context(), name, in, nil)
		if in.bytes > 10*len(file)+1<<10 || in.reads > 10*len(file)+1<<10 {
			t.Errorf("of %d bytes %d were read, in %d reads", len(file), in.bytes, in.reads)
		}
		runtime.ReadMemStats(&after)
		// go-mp3 allocates about 100 bytes for each byte that it reads.
		if made := after.TotalAlloc - before.TotalAlloc; made > 4<<20+uint64(len(file))*1000 {
			t.Errorf("%d bytes made it allocate %d KiB", len(file), made>>10)
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) || w != nil {
				t.Errorf("error of a reader that has none: %v", err)
			}
			return
		}
		if r.Duration < 0 || r.SampleRate < 1 || r.Channels < 1 || r.BitRate < 1 || len(r.SHA256) != 64 || r.Tags == nil {
			t.Errorf("impossible report %+v", r)
		}
		if r.PeakDBFS != nil && (*r.PeakDBFS > 0 || *r.RMSDBFS > *r.PeakDBFS) {
			t.Errorf("impossible levels %v, %v", *r.PeakDBFS, *r.RMSDBFS)
		}
		if err := w.WritePNG(io.Discard); err != nil {
			t.Error(err)
		}
	})
}

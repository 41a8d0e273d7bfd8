package inspect

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// wave describes a WAVE file to write. The zero value is PCM of 16 bits, mono, 8000 Hz.
type wave struct {
	encoding   uint16
	rate       uint32
	channels   int
	bytes      int // size of a sample in bytes
	valid      int // number of used bits in a sample; if not 0, the format is extensible
	before     []byte
	after      []byte
	riff, data uint32 // sizes in the headers; 0 means the real sizes
}

func chunk(id string, body ...byte) []byte {
	c := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(body)))
	c = append(c, body...)
	if len(body)%2 == 1 {
		c = append(c, 0)
	}
	return c
}

func textChunk(id, body string) []byte { return chunk(id, []byte(body)...) }

// file returns a file with the samples. The samples of all channels at one moment follow each
// other.
func (w wave) file(samples []float64) []byte {
	le := binary.LittleEndian
	w.encoding = cmp.Or(w.encoding, encodingPCM)
	w.rate, w.channels, w.bytes = cmp.Or(w.rate, 8000), cmp.Or(w.channels, 1), cmp.Or(w.bytes, 2)
	frame := w.bytes * w.channels
	tag := w.encoding
	if w.valid > 0 {
		tag = encodingExtensible
	}
	format := le.AppendUint16(nil, tag)
	format = le.AppendUint16(format, uint16(w.channels))
	format = le.AppendUint32(format, w.rate)
	format = le.AppendUint32(format, w.rate*uint32(frame))
	format = le.AppendUint16(format, uint16(frame))
	format = le.AppendUint16(format, uint16(w.bytes*8))
	if w.valid > 0 {
		format = le.AppendUint16(format, 22)
		format = le.AppendUint16(format, uint16(w.valid))
		format = le.AppendUint32(format, 0) // no speaker positions
		format = le.AppendUint16(format, w.encoding)
		format = append(format, extensibleGUID...)
	}
	var pcm []byte
	for _, v := range samples {
		pcm = append(pcm, w.sample(v)...)
	}
	data := chunk("data", pcm...)
	if w.data > 0 {
		le.PutUint32(data[4:], w.data)
	}
	body := slices.Concat([]byte("WAVE"), w.before, chunk("fmt ", format...), data, w.after)
	riff := le.AppendUint32([]byte("RIFF"), uint32(len(body)))
	if w.riff > 0 {
		le.PutUint32(riff[4:], w.riff)
	}
	return append(riff, body...)
}

// sample encodes one sample between -1 and 1.
func (w wave) sample(v float64) []byte {
	le := binary.LittleEndian
	switch {
	case w.encoding == encodingFloat && w.bytes == 4:
		return le.AppendUint32(nil, math.Float32bits(float32(v)))
	case w.encoding == encodingFloat:
		return le.AppendUint64(nil, math.Float64bits(v))
	case w.encoding == encodingALaw:
		return []byte{nearest(aLaw, v)}
	case w.encoding == encodingMuLaw:
		return []byte{nearest(muLaw, v)}
	}
	full := float64(int64(1) << (w.bytes*8 - 1))
	n := int64(max(-full, min(math.Round(v*full), full-1)))
	if w.bytes == 1 {
		n += 128
	}
	return le.AppendUint64(nil, uint64(n))[:w.bytes]
}

// nearest returns the byte whose expanded value is nearest to v.
func nearest(expand func(byte) int16, v float64) byte {
	best := 0
	for b := range 256 {
		if math.Abs(float64(expand(byte(b)))-v*32768) < math.Abs(float64(expand(byte(best)))-v*32768) {
			best = b
		}
	}
	return byte(best)
}

// sine returns a tone at half of full scale: its peak is 6.02 dB and its RMS level 9.03 dB below
// full scale. Every second channel is inverted.
func sine(moments, channels int) []float64 {
	samples := make([]float64, 0, moments*channels)
	for i := range moments {
		v := 0.5 * math.Sin(2*math.Pi*float64(i)/16)
		for c := range channels {
			samples = append(samples, v*float64(1-c%2*2))
		}
	}
	return samples
}

func TestSampleFormats(t *testing.T) {
	for _, c := range []struct {
		name string
		wave wave
		bits int
	}{
		{"8 bits", wave{bytes: 1}, 8},
		{"16 bits", wave{bytes: 2}, 16},
		{"24 bits", wave{bytes: 3}, 24},
		{"32 bits", wave{bytes: 4}, 32},
		{"float 32", wave{encoding: encodingFloat, bytes: 4}, 32},
		{"float 64", wave{encoding: encodingFloat, bytes: 8}, 64},
		{"A-law", wave{encoding: encodingALaw, bytes: 1}, 8},
		{"mu-law", wave{encoding: encodingMuLaw, bytes: 1}, 8},
		{"stereo", wave{channels: 2, rate: 44100}, 16},
		{"six channels", wave{channels: 6, bytes: 3, rate: 48000}, 24},
		{"extensible", wave{bytes: 3, valid: 20, channels: 2, rate: 96000}, 20},
		{"extensible float", wave{encoding: encodingFloat, bytes: 4, valid: 32}, 32},
		{"odd chunks", wave{bytes: 1, before: chunk("junk", 1, 2, 3), after: chunk("junk", 1, 2, 3)}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			channels, rate := cmp.Or(c.wave.channels, 1), int(cmp.Or(c.wave.rate, 8000))
			r, w, err := inspect(t, "sine.wav", c.wave.file(sine(1600, channels)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Channels != channels || r.SampleRate != rate || *r.BitDepth != c.bits {
				t.Errorf("%d channels, %d Hz, %d bits", r.Channels, r.SampleRate, *r.BitDepth)
			}
			if want := rate * channels * cmp.Or(c.wave.bytes, 2) * 8; r.BitRate != want {
				t.Errorf("bit rate %d, want %d", r.BitRate, want)
			}
			if want := math.Round(1600/float64(rate)*1e6) / 1e6; r.Duration != want {
				t.Errorf("duration %v, want %v", r.Duration, want)
			}
			if c.wave.encoding == encodingALaw || c.wave.encoding == encodingMuLaw {
				// They have no value of exactly half of full scale, only one near it.
				within(t, "peak", *r.PeakDBFS, []float64{encodingALaw: -6.16, encodingMuLaw: -5.82}[c.wave.encoding])
			} else {
				within(t, "peak", *r.PeakDBFS, -6.02)
			}
			within(t, "RMS", *r.RMSDBFS, -9.03)
			if w == nil {
				t.Error("no waveform")
			}
		})
	}
}

func TestLevelsAtTheLimits(t *testing.T) {
	float := wave{encoding: encodingFloat, bytes: 8}
	for _, c := range []struct {
		name      string
		wave      wave
		samples   []float64
		peak, rms float64 // dB; NaN for silence
	}{
		{"digital silence", wave{}, make([]float64, 800), math.NaN(), math.NaN()},
		{"8-bit silence", wave{bytes: 1}, make([]float64, 800), math.NaN(), math.NaN()},
		{"no samples", wave{}, nil, math.NaN(), math.NaN()},
		{"full scale", wave{}, []float64{-1, -1, -1, -1}, 0, 0},
		{"one step below", wave{}, []float64{1, 1}, 0, 0},
		{"lowest bit", wave{}, []float64{1. / 32768, -1. / 32768}, -90.31, -90.31},
		{"over full scale is clipped", float, []float64{4, -4}, 0, 0},
		{"NaN is silence", float, []float64{math.NaN(), math.Inf(1)}, 0, -3.01},
		{"squares underflow to 0", float, []float64{1e-200, -1e-200}, math.NaN(), math.NaN()},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _, err := inspect(t, "x.wav", c.wave.file(c.samples))
			if err != nil {
				t.Fatal(err)
			}
			for _, level := range []struct {
				got  *float64
				want float64
			}{{r.PeakDBFS, c.peak}, {r.RMSDBFS, c.rms}} {
				if math.IsNaN(level.want) != (level.got == nil) || level.got != nil && *level.got != level.want {
					t.Errorf("peak %v, RMS %v; want %v and %v", r.PeakDBFS, r.RMSDBFS, c.peak, c.rms)
				}
			}
		})
	}
}

// An encoder that writes to a pipe does not know the size of the data.
func TestPipedWAV(t *testing.T) {
	for _, size := range []uint32{0x7FFFF000, 0xFFFFFFFF} {
		file := wave{riff: max(size, 0x7FFFF024), data: size}.file(sine(800, 1))
		r, _, err := inspect(t, "piped.wav", file)
		if err != nil || r.Duration != 0.1 {
			t.Errorf("%#x: %v s, %v", size, r.Duration, err)
		}
	}
}

func TestRF64(t *testing.T) {
	sizes := make([]byte, 28)
	binary.LittleEndian.PutUint64(sizes[8:], 1600)
	file := wave{riff: 0xFFFFFFFF, data: 0xFFFFFFFF, before: chunk("ds64", sizes...), after: chunk("junk", 1, 2)}.file(sine(800, 1))
	copy(file, "RF64")
	r, _, err := inspect(t, "long.wav", file)
	if err != nil || r.Duration != 0.1 {
		t.Fatalf("%v s, %v", r.Duration, err)
	}
	_, _, err = inspect(t, "long.wav", file[:len(file)-200])
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "data chunk is truncated: 1410 of 1600 bytes") {
		t.Errorf("cut off: %v", err)
	}
}

func TestBrokenWAV(t *testing.T) {
	whole := wave{}.file(sine(800, 1)) // 44 bytes of header
	patched := func(at int, b ...byte) []byte {
		file := bytes.Clone(whole)
		copy(file[at:], b)
		return file
	}
	big := []byte{0xFF, 0xFF, 0xFF, 0xFF}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"one byte", whole[:1], "not a RIFF/WAVE file"},
		{"header cut off", whole[:11], "not a RIFF/WAVE file"},
		{"fmt chunk cut off", whole[:30], "fmt chunk is truncated: 10 of 16 bytes"},
		{"nothing after fmt", whole[:36], "no data chunk"},
		{"data header cut off", whole[:42], "no data chunk"},
		{"data cut off", whole[:1044], "data chunk is truncated: 1000 of 1600 bytes"},
		{"last byte cut off", whole[:len(whole)-1], "data chunk is truncated: 1599 of 1600 bytes"},
		{"4 GiB of data in 100 bytes", patched(40, big...)[:100], "data chunk is truncated: 56 of 4294967295 bytes"},
		{"4 GiB of fmt", patched(16, big...), "fmt chunk is truncated"},
		{"4 GiB of tags", append(bytes.Clone(whole), "LIST\xff\xff\xff\xffINFO"...), "LIST chunk is truncated: 4 of 4294967295"},
		{"fmt too short", patched(16, 2, 0, 0, 0), "too short"},
		{"no channels", patched(22, 0, 0), "0 channels"},
		{"no rate", patched(24, 0, 0, 0, 0), "0 Hz"},
		{"frames of no bytes", patched(32, 0, 0), "1 channels in frames of 0 bytes"},
		{"frames that do not divide", patched(22, 3, 0), "3 channels in frames of 2 bytes"},
		{"more bits than bytes", patched(34, 24, 0), "24 bits in 2 bytes"},
		{"no bits", patched(34, 0, 0), "0 bits"},
		{"ADPCM", patched(20, 0x11, 0), "IMA ADPCM inside a WAVE file is not supported, convert it to PCM"},
		{"unknown encoding", patched(20, 0x34, 0x12), "encoding 0x1234"},
		{"extensible, but short", patched(20, 0xFE, 0xFF), "unknown extensible format"},
		{"recorder that was killed", patched(40, 0, 0, 0, 0), "the recording was never finished"},
		{"text", []byte("Dear diary, today I renamed a text file to .wav and waited."), "not a RIFF/WAVE file"},
		{"another RIFF", append([]byte("RIFF\x10\x00\x00\x00AVI "), whole...), "a RIFF file of another kind"},
		{"big-endian", append([]byte("RIFX"), whole[4:]...), "not a RIFF/WAVE file"},
		{"data before fmt", slices.Concat(whole[:12], chunk("data", 1, 2), whole[12:]), "no fmt chunk before the data chunk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := inspect(t, "x.wav", c.file)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %+v; want ErrFormat: %s", err, r, c.want)
			}
			if w != nil {
				t.Error("a waveform of a broken file")
			}
		})
	}
}

// Faults that players ignore are ignored.
func TestTolerableWAV(t *testing.T) {
	samples := sine(800, 1)
	for name, file := range map[string][]byte{
		"junk at the end":        wave{after: []byte("\x00\x01\x02junk that is no chunk")}.file(samples),
		"a few bytes at the end": wave{after: []byte("LIST")}.file(samples),
		"wrong outer length":     wave{riff: 7}.file(samples),
		"second data chunk":      wave{after: chunk("data", 1, 2, 3, 4)}.file(samples),
		"half a sample more":     wave{data: 1601, after: []byte{0}}.file(samples),
		"no padding":             slices.Concat(wave{bytes: 1}.file(samples[:799])[:44+799], chunk("LIST", 'I', 'N', 'F', 'O')),
	} {
		r, _, err := inspect(t, "x.wav", file)
		if err != nil || r.Duration < 0.099 || r.Duration > 0.1 {
			t.Errorf("%s: %v s, %v", name, r.Duration, err)
		}
	}
}

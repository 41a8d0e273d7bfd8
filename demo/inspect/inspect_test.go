package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inspect runs Inspect on the bytes of a file.
func inspect(t *testing.T, name string, file []byte) (Report, *Waveform, error) {
	t.Helper()
	return Inspect(t.Context(), name, bytes.NewReader(file), nil)
}

// sound returns a file in testdata.
func sound(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// within fails the test unless got differs from want by at most one per cent.
func within(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > math.Abs(want)/100 {
		t.Errorf("%s is %v, want %v to 1 %%", what, got, want)
	}
}

// The expected values are those of soxi and sox, see testdata/README.md.
func TestValuesMatchSox(t *testing.T) {
	for _, c := range []struct {
		name           string
		duration       float64
		rate, channels int
		bits, bitRate  int
		peak, rms      float64
	}{
		{"speech.wav", 5.841542, 22050, 1, 16, 352800, -2.05, -20.75},
		{"speech.mp3", 5.840998, 22050, 1, 0, 81900, -2.05, -20.75},
		{"speech-22050-cbr.mp3", 2.560000, 22050, 1, 0, 32000, -2.38, -20.94},
		{"speech-11025.mp3", 2.611973, 11025, 1, 0, 45037, -2.19, -20.75},
		{"speech-44100-stereo.mp3", 4.086009, 44100, 2, 0, 96000, -2.44, -21.29},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := sound(t, c.name)
			r, _, err := inspect(t, c.name, file)
			if err != nil {
				t.Fatal(err)
			}
			if r.PeakDBFS == nil || r.RMSDBFS == nil {
				t.Fatalf("no levels in %+v", r)
			}
			within(t, "duration", r.Duration, c.duration)
			within(t, "bit rate", float64(r.BitRate), float64(c.bitRate))
			within(t, "peak", *r.PeakDBFS, c.peak)
			within(t, "RMS", *r.RMSDBFS, c.rms)
			if r.SampleRate != c.rate || r.Channels != c.channels {
				t.Errorf("%d Hz, %d channels, want %d and %d", r.SampleRate, r.Channels, c.rate, c.channels)
			}
			if (r.BitDepth == nil) != (c.bits == 0) || r.BitDepth != nil && *r.BitDepth != c.bits {
				t.Errorf("bit depth %v, want %d", r.BitDepth, c.bits)
			}
			if want := "." + r.Format; filepath.Ext(c.name) != want {
				t.Errorf("format %q", r.Format)
			}
			if sum := sha256.Sum256(file); r.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("sha256 %s, want %x", r.SHA256, sum)
			}
		})
	}
}

func TestReportHasAllKeys(t *testing.T) {
	r, _, err := inspect(t, "none.wav", wave{}.file(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"format":"wav","duration":0,"sample_rate":8000,"channels":1,"bit_depth":16,"bit_rate":128000,` +
		`"tags":{},"peak_dbfs":null,"rms_dbfs":null,"sha256":"` + r.SHA256 + `"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAccepts(t *testing.T) {
	for name, want := range map[string]bool{
		"a.wav": true, "b.WAV": true, "c.Mp3": true, ".mp3": true,
		"a.wav.txt": false, "wav": false, "": false, "a.flac": false, "mp3/a": false,
	} {
		if Accepts(name) != want {
			t.Errorf("Accepts(%q) is %v", name, !want)
		}
	}
	_, _, err := inspect(t, "a.flac", sound(t, "speech.wav"))
	if !errors.Is(err, ErrFormat) {
		t.Errorf("a file of another name: %v", err)
	}
}

func TestProgress(t *testing.T) {
	for _, name := range []string{"speech.wav", "speech.mp3"} {
		last, calls := -1, 0
		_, _, err := Inspect(t.Context(), name, bytes.NewReader(sound(t, name)), func(percent int, note string) {
			if percent <= last || note == "" {
				t.Errorf("%s: %d %% %q after %d %%", name, percent, note, last)
			}
			if calls == 0 && percent != 0 {
				t.Errorf("%s: begins with %d %%", name, percent)
			}
			last = percent
			calls++
		})
		if err != nil || last != 100 {
			t.Errorf("%s: ended with %d %%, %v", name, last, err)
		}
	}
}

func TestCancelledMidway(t *testing.T) {
	reason := errors.New("the user does not want it any more")
	for _, name := range []string{"speech.wav", "long.mp3"} {
		file := sound(t, "speech.wav")
		if name == "long.mp3" {
			file = bytes.Repeat(sound(t, "speech-22050-cbr.mp3"), 20)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		_, w, err := Inspect(ctx, name, bytes.NewReader(file), func(percent int, _ string) {
			if percent > 0 {
				cancel(reason)
			}
		})
		if err != reason || w != nil {
			t.Errorf("%s: %v, want the cause and no waveform", name, err)
		}
	}
}

// failingReader fails after some bytes, like a broken disk.
type failingReader struct {
	*bytes.Reader
	after int64
	err   error
}

func (f failingReader) Read(p []byte) (int, error) {
	if at, _ := f.Seek(0, io.SeekCurrent); at >= f.after && at < f.Size()-id3v1Size {
		return 0, f.err
	}
	return f.Reader.Read(p)
}

func TestReadErrorIsNoFormatError(t *testing.T) {
	broken := errors.New("input/output error")
	for _, c := range []struct {
		name  string
		file  []byte
		after int64
	}{
		{"speech.wav", sound(t, "speech.wav"), 0},
		{"speech.wav", sound(t, "speech.wav"), 100 << 10},
		{"speech.mp3", sound(t, "speech.mp3"), 0},
		{"long.mp3", bytes.Repeat(sound(t, "speech-22050-cbr.mp3"), 20), 100 << 10},
	} {
		_, _, err := Inspect(t.Context(), c.name, failingReader{bytes.NewReader(c.file), c.after, broken}, nil)
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Errorf("%s after %d bytes: %v", c.name, c.after, err)
		}
	}
}

// If the format of a file does not match its name, the error names the format.
func TestReasonNamesTheKind(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"speech.wav", "speech.mp3", "not a RIFF/WAVE file, it looks like an MP3 file"},
		{"speech.mp3", "speech.wav", "no MPEG audio frame found, it looks like a WAV file"},
	} {
		_, _, err := inspect(t, c.name, sound(t, c.file))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

package inspect

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"math"
	"testing"
)

// picture draws w as a PNG and decodes it.
func picture(t *testing.T, w *Waveform) image.Image {
	t.Helper()
	var file bytes.Buffer
	if err := w.WritePNG(&file); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Bounds(); got != image.Rect(0, 0, 1200, 300) {
		t.Fatalf("picture of %v", got)
	}
	return img
}

// ink returns the number of pixels in a column that are not transparent.
func ink(img image.Image, x int) int {
	n := 0
	for y := range img.Bounds().Dy() {
		if _, _, _, a := img.At(x, y).RGBA(); a > 0 {
			n++
		}
	}
	return n
}

func TestMergingKeepsTheExtremes(t *testing.T) {
	const spikes = 7
	for _, moments := range []int{1, 100, maxBins, maxBins + 1, 10*maxBins + 3} {
		w := new(Waveform)
		squares := 0.0
		for i := range moments {
			v := 0.1
			if i%(moments/spikes+1) == 0 {
				v = 0.9
			}
			w.add(-v/2, v, v*v)
			squares += v * v
		}
		if len(w.bins) > maxBins {
			t.Errorf("%d moments take %d bins", moments, len(w.bins))
		}
		var all bin
		for i, b := range w.bins {
			if i < len(w.bins)-1 && b.moments != w.momentsPerBin {
				t.Errorf("bin %d of %d holds %d moments, not %d", i, len(w.bins), b.moments, w.momentsPerBin)
			}
			all.merge(b)
		}
		if all.low != -0.45 || all.high != 0.9 || all.moments != int64(moments) || math.Abs(all.squares-squares) > 1e-6 {
			t.Errorf("%d moments became %+v", moments, all)
		}
		var drawn bin
		for _, b := range w.divide(pictureBars) {
			drawn.merge(b)
		}
		if drawn.low != all.low || drawn.high != all.high {
			t.Errorf("of %d moments %+v is drawn", moments, drawn)
		}
	}
}

// For sound, silence and sound again, the columns show sound, only the axis, and sound.
func TestPictureShowsSoundAndSilence(t *testing.T) {
	samples := append(sine(4000, 1), make([]float64, 4000)...)
	samples = append(samples, sine(4000, 1)...)
	_, w, err := inspect(t, "x.wav", wave{}.file(samples))
	if err != nil {
		t.Fatal(err)
	}
	img := picture(t, w)
	for x := range 1200 {
		bar, gap := x%barPitch < barWidth, x%barPitch >= barWidth
		loud := x < 400-barPitch || x >= 800+barPitch
		quiet := x >= 400+barPitch && x < 800-barPitch
		// Half of full scale is half of the height between the margins.
		if got := ink(img, x); bar && loud && (got < 140 || got > 150) {
			t.Fatalf("column %d has %d pixels of ink, want about 144", x, got)
		} else if (gap || quiet) && got != 2 {
			t.Fatalf("column %d has %d pixels of ink, want the axis", x, got)
		}
	}
	if img.At(0, 150) == img.At(0, 90) {
		t.Error("RMS and peak have one colour")
	}
}

func TestPictureOfEmptySound(t *testing.T) {
	silent := new(Waveform)
	for range 5000 {
		silent.add(0, 0, 0)
	}
	for name, w := range map[string]*Waveform{"no sound": new(Waveform), "silence": silent} {
		img := picture(t, w)
		for x := range 1200 {
			if ink(img, x) != 2 {
				t.Fatalf("%s: column %d has more ink than the axis", name, x)
			}
		}
	}
}

func TestPictureAtFullScale(t *testing.T) {
	w := new(Waveform)
	w.add(-1, 1, 1)
	img := picture(t, w)
	if got := ink(img, 600); got != pictureHeight-2*pictureMargin {
		t.Errorf("%d pixels of ink", got)
	}
}

// All samples of a constant offset (bias) are on the same side of zero.
func TestPictureOfBias(t *testing.T) {
	w := new(Waveform)
	w.add(0.5, 0.6, 0.3)
	img := picture(t, w)
	if _, _, _, a := img.At(0, 70).RGBA(); a == 0 {
		t.Error("no ink above the axis")
	}
	if _, _, _, a := img.At(0, 160).RGBA(); a != 0 {
		t.Error("ink below the axis")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

func TestPictureOnFullDisk(t *testing.T) {
	if err := new(Waveform).WritePNG(fullDisk{}); err == nil {
		t.Error("no error")
	}
}

func BenchmarkWAV(b *testing.B) {
	file := wave{channels: 2, rate: 44100}.file(sine(441000, 2))
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, _, err := Inspect(b.Context(), "x.wav", bytes.NewReader(file), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMP3(b *testing.B) {
	file := sound(b, "speech-44100-stereo.mp3")
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, _, err := Inspect(b.Context(), "x.mp3", bytes.NewReader(file), nil); err != nil {
			b.Fatal(err)
		}
	}
}

package inspect

import (
	"errors"
	"io"
	"math"

	"github.com/galeserver/gale/pool"

	"github.com/hajimehoshi/go-mp3"
)

// readMP3 reads a file of MPEG audio, layer III.
func readMP3(in *input) (Report, *meter, error) {
	t := newTags()
	scan := newFrameScanner(in, t)
	if err := scan.start(); err != nil {
		return Report{}, nil, err
	}
	sound := newMeter()
	if err := decodeMP3(scan, sound); err != nil {
		return Report{}, nil, err
	}
	t.readID3v1(in.last)
	h := scan.first
	r := Report{
		Format:     "mp3",
		Duration:   scan.duration(),
		SampleRate: h.sampleRate,
		Channels:   h.channels,
		BitRate:    h.bitRate,
		Tags:       t.named,
	}
	if !scan.constant {
		r.BitRate = int(math.Round(float64(scan.bytes) * 8 / seconds(scan.samples(), h.sampleRate)))
	}
	return r, sound, nil
}

// samples returns the number of samples per channel in the frames so far.
func (s *frameScanner) samples() int64 { return s.frames * int64(s.first.samples()) }

// maxPadding is the largest number of samples of silence that an encoder adds. LAME adds
// about 1100 for its filters, and up to two frames so that the last frame is complete.
const maxPadding = 4096

// duration returns the duration of the original sound, if an ID3 tag (TLEN) gives it, and
// otherwise the duration of the frames. If the file was cut or joined after encoding, TLEN is
// wrong. Therefore it is used only if the difference is not larger than maxPadding.
func (s *frameScanner) duration() float64 {
	declared := int64(s.tags.milliseconds) * int64(s.first.sampleRate) / 1000
	if declared > 0 && declared <= s.samples() && s.samples()-declared <= maxPadding {
		return float64(s.tags.milliseconds) / 1000
	}
	return seconds(s.samples(), s.first.sampleRate)
}

// decodeMP3 decodes and measures all frames. It returns an error at the first frame that
// cannot be decoded.
func decodeMP3(scan *frameScanner, sound *meter) error {
	f := &feeder{scan: scan}
	samples := int64(0)
	err := pool.Protect(func() error {
		d, err := mp3.NewDecoder(f)
		if err != nil {
			return err
		}
		raw := make([]byte, 4*1152) // one frame in 16 bits, always two channels
		pcm := make([]float64, len(raw)/2)
		for {
			n, err := d.Read(raw) // reads at most one frame, which fits into raw
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			decode16(pcm, raw[:n])
			measureStereo(sound, pcm[:n/2], scan.first.channels)
			samples += int64(n / 4)
		}
	})
	if failure := f.failure(); failure != nil {
		return failure
	}
	if err != nil {
		return decodeError{formatError("the sound cannot be decoded at %.2f s", seconds(samples, scan.first.sampleRate)), err}
	}
	// go-mp3 skips data that it cannot recognize. The report would then be wrong.
	if want := scan.samples(); samples != want {
		return formatError("%d of %d samples could be decoded", samples, want)
	}
	return nil
}

// measureStereo measures samples that go-mp3 has returned. They always have two channels; for
// a mono file both are the same, and only one is measured.
func measureStereo(sound *meter, pcm []float64, channels int) {
	if channels == 1 {
		for i := range len(pcm) / 2 {
			pcm[i] = pcm[i*2]
		}
		pcm = pcm[:len(pcm)/2]
	}
	sound.add(pcm, channels)
}

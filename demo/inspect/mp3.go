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

// samples is how many of each channel there are in the frames so far.
func (s *frameScanner) samples() int64 { return s.frames * int64(s.first.samples()) }

// maxPadding is the most silence that an encoder adds, in samples: LAME about
// 1100 for its filters and up to two frames to end on a whole one.
const maxPadding = 4096

// duration is what soxi prints: how long the file says it was before it was
// encoded (ID3 TLEN), or else how long its frames are. A file that was cut or
// joined since may say anything, so that counts only if padding explains the
// difference.
func (s *frameScanner) duration() float64 {
	declared := int64(s.tags.milliseconds) * int64(s.first.sampleRate) / 1000
	if declared > 0 && declared <= s.samples() && s.samples()-declared <= maxPadding {
		return float64(s.tags.milliseconds) / 1000
	}
	return seconds(s.samples(), s.first.sampleRate)
}

// decodeMP3 decodes all frames. A frame that cannot be decoded ends it.
func decodeMP3(scan *frameScanner, sound *meter) error {
	f := &feeder{scan: scan}
	samples := int64(0)
	err := pool.Protect(func() error {
		d, err := mp3.NewDecoder(f)
		if err != nil {
			return err
		}
		raw := make([]byte, 4*1152) // a frame: 16 bits, always two channels
		pcm := make([]float64, len(raw)/2)
		for {
			n, err := d.Read(raw) // of one frame, and there is room for it
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
	// go-mp3 passes over what it takes for noise. The figures would be wrong.
	if want := scan.samples(); samples != want {
		return formatError("%d of %d samples could be decoded", samples, want)
	}
	return nil
}

// measureStereo measures what go-mp3 returns: of a mono file it has both
// channels the same.
func measureStereo(sound *meter, pcm []float64, channels int) {
	if channels == 1 {
		for i := range len(pcm) / 2 {
			pcm[i] = pcm[i*2]
		}
		pcm = pcm[:len(pcm)/2]
	}
	sound.add(pcm, channels)
}

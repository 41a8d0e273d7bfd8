package inspect

import "math"

// meter measures the loudness of a sound while it is decoded.
type meter struct {
	peak    float64 // largest absolute value of a sample, 0 to 1
	squares float64 // sum of the squares of all samples
	count   int64   // number of samples in all channels
	wave    *Waveform
}

func newMeter() *meter { return &meter{wave: new(Waveform)} }

// add adds samples between -1 and 1. The samples of all channels at one moment follow each
// other. An incomplete moment at the end is left out.
func (m *meter) add(samples []float64, channels int) {
	for ; len(samples) >= channels; samples = samples[channels:] {
		low, high, squares := samples[0], samples[0], 0.0
		for _, v := range samples[:channels] {
			low, high = min(low, v), max(high, v)
			squares += v * v
		}
		m.peak = max(m.peak, high, -low)
		m.squares += squares
		m.count += int64(channels)
		m.wave.add(low, high, squares/float64(channels))
	}
}

// silence is the smallest absolute value that a sample of 32 bits can have, apart from 0.
// Samples in floating point can be smaller; sox reads those as 0, and so does this package.
const silence = 1.0 / (1 << 31)

// levels returns the peak and RMS levels in dB relative to full scale. They are nil for
// silence, because JSON has no -Inf.
func (m *meter) levels() (peak, rms *float64) {
	if m.peak < silence {
		return nil, nil
	}
	return decibels(m.peak), decibels(math.Sqrt(m.squares / float64(m.count)))
}

func decibels(level float64) *float64 {
	db := math.Round(20*math.Log10(level)*100) / 100
	db += 0 // makes 0 of -0, which rounding returns for a peak slightly below full scale
	return &db
}

package inspect

import "math"

// meter measures how loud sound is as it streams past.
type meter struct {
	peak    float64 // greatest magnitude, 0 to 1
	squares float64 // sum of the squares of all samples
	count   int64   // samples, those of all channels added up
	wave    *Waveform
}

func newMeter() *meter { return &meter{wave: new(Waveform)} }

// add takes samples from -1 to 1, those of one moment side by side. What does
// not fill a moment is left out.
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

// silence is the least magnitude that 32 bits can tell from none. Floating point
// can hold less; sox, whose figures these are, reads that as nothing.
const silence = 1.0 / (1 << 31)

// levels returns peak and RMS in dB relative to full scale, nil for silence:
// JSON has no -Inf.
func (m *meter) levels() (peak, rms *float64) {
	if m.peak < silence {
		return nil, nil
	}
	return decibels(m.peak), decibels(math.Sqrt(m.squares / float64(m.count)))
}

func decibels(level float64) *float64 {
	db := math.Round(20*math.Log10(level)*100) / 100
	db += 0 // -0 is how rounding leaves a peak one step below full scale
	return &db
}

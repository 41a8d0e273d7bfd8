package inspect

// maxBins is the largest number of bins in a Waveform. A long sound has at least half of that,
// eight for each bar of the picture. So one bin more or fewer in a bar is not visible.
const maxBins = 16 * pictureBars

// bin is a part of the sound: a number of consecutive moments. A moment is one sample of each
// channel.
type bin struct {
	low, high float64 // lowest and highest sample of all channels
	squares   float64 // sum over the moments of the mean square of the channels
	moments   int64   // number of moments
}

// merge adds the sound of o to b.
func (b *bin) merge(o bin) {
	if b.moments == 0 {
		*b = o
		return
	}
	if o.moments == 0 {
		return
	}
	b.low, b.high = min(b.low, o.low), max(b.high, o.high)
	b.squares += o.squares
	b.moments += o.moments
}

// Waveform is the envelope of a sound, computed while the sound is decoded. The length of the
// sound need not be known: when all bins are full, they are merged in pairs, and each new bin
// holds twice as many moments. The zero value is an empty sound.
type Waveform struct {
	bins          []bin // all full, except the last one
	momentsPerBin int64 // number of moments in a full bin
}

// add adds one moment: the lowest and highest sample of its channels, and the mean of their
// squares.
func (w *Waveform) add(low, high, square float64) {
	if len(w.bins) == 0 || w.bins[len(w.bins)-1].moments == w.momentsPerBin {
		w.addBin()
	}
	b := &w.bins[len(w.bins)-1]
	if b.moments == 0 {
		b.low, b.high = low, high
	} else {
		b.low, b.high = min(b.low, low), max(b.high, high)
	}
	b.squares += square
	b.moments++
}

// addBin adds an empty bin. If the bins are full it first merges them in pairs.
func (w *Waveform) addBin() {
	if w.bins == nil {
		w.bins, w.momentsPerBin = make([]bin, 0, maxBins), 1
	}
	if len(w.bins) == maxBins {
		for i := range maxBins / 2 {
			w.bins[i] = w.bins[2*i]
			w.bins[i].merge(w.bins[2*i+1])
		}
		w.bins = w.bins[:maxBins/2]
		w.momentsPerBin *= 2
	}
	w.bins = append(w.bins, bin{})
}

// divide returns the sound in n parts of equal duration. If there are fewer bins than parts,
// several parts are copies of the same bin.
func (w *Waveform) divide(n int) []bin {
	if len(w.bins) == 0 {
		return nil
	}
	parts := make([]bin, n)
	for i := range parts {
		from := i * len(w.bins) / n
		to := max((i+1)*len(w.bins)/n, from+1)
		for _, b := range w.bins[from:to] {
			parts[i].merge(b)
		}
	}
	return parts
}

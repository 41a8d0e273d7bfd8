package inspect

// maxBins is how many bins a Waveform holds: at least eight to a bar of the
// picture once the sound is longer than that, so that no bar stands out for
// having one bin more than its neighbour.
const maxBins = 16 * pictureBars

// bin is the sound between two moments.
type bin struct {
	low, high float64 // extremes, over all channels
	squares   float64 // sum of the mean squares of the moments
	moments   int64
}

// merge makes b the sound of both.
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

// Waveform is the envelope of a sound, collected as its samples stream past.
// It need not know how many will come: when its bins are full it merges each
// with its neighbour, and those to come hold twice as much. The zero value is
// ready, and a sound of no length.
type Waveform struct {
	bins          []bin // all full but the last
	momentsPerBin int64 // moments in a full bin
}

// add takes one moment: the lowest and highest of its channels and the mean of
// their squares.
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

// divide returns the sound in n parts. Each holds the bins that begin in it;
// where there are fewer bins than parts a bin fills several.
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

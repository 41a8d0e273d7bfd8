package soak_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const (
	// blocks is the number of averages that the regression uses. Samples that follow each
	// other are not independent, for example between two garbage collections; averages of
	// long blocks almost are.
	blocks = 12
	// quantile is the quantile 0.999 of Student's t distribution for blocks-2 degrees of
	// freedom.
	quantile = 4.144
	// leastGrowth is the growth during a run, as a part of the average, that is reported at
	// least: a smaller one can be significant, but would not be a leak.
	leastGrowth = 0.02
)

// trend is a line through the samples of a figure by least squares.
type trend struct {
	mean  float64
	slope float64 // change from the first to the last sample
	bound float64 // the slope is larger than this with a confidence of 99.9 %
}

// fit returns the trend of samples that were taken at a constant interval.
func fit(samples []float64) (trend, error) {
	if len(samples) < 2*blocks {
		return trend{}, fmt.Errorf("%d samples are too few: at least %d are needed", len(samples), 2*blocks)
	}
	var means [blocks]float64
	var mean float64
	for i := range blocks {
		part := samples[i*len(samples)/blocks : (i+1)*len(samples)/blocks]
		for _, s := range part {
			means[i] += s / float64(len(part))
		}
		mean += means[i] / blocks
	}
	var xx, xy float64
	at := func(i int) float64 { return (float64(i)+0.5)/blocks - 0.5 } // the run is 1
	for i, m := range means {
		xx += at(i) * at(i)
		xy += at(i) * (m - mean)
	}
	slope := xy / xx
	var squares float64
	for i, m := range means {
		squares += math.Pow(m-mean-slope*at(i), 2)
	}
	deviation := math.Sqrt(squares / (blocks - 2) / xx)
	return trend{mean: mean, slope: slope, bound: slope - quantile*deviation}, nil
}

// grows reports whether the figure grows: surely, and by more than leastGrowth.
func (l trend) grows() bool { return l.bound > leastGrowth*math.Abs(l.mean) }

func (l trend) String() string {
	return fmt.Sprintf("average %.4g, change during the run %+.4g, with 99.9 %% confidence above %+.4g", l.mean, l.slope, l.bound)
}

// A steady growth is found in noise; noise, a sawtooth and a constant are not growth.
func TestTrend(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		sample func(i int) float64
		grows  bool
	}{
		"constant":        {func(int) float64 { return 40 }, false},
		"zero":            {func(int) float64 { return 0 }, false},
		"noise":           {func(int) float64 { return 100 + 20*random.Float64() }, false},
		"sawtooth":        {func(i int) float64 { return 100 + float64(i%37) }, false},
		"falls":           {func(i int) float64 { return 200 - float64(i)/5 }, false},
		"settles":         {func(i int) float64 { return 100 - 30*math.Exp(-float64(i)/20) }, false},
		"leak":            {func(i int) float64 { return 100 + float64(i)/10 }, true},
		"leak in noise":   {func(i int) float64 { return 100 + float64(i)/5 + 20*random.Float64() }, true},
		"one in 50":       {func(i int) float64 { return 40 + float64(i/50) }, true},
		"less than noted": {func(i int) float64 { return 1000 + float64(i)/100 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			samples := make([]float64, 300)
			for i := range samples {
				samples[i] = c.sample(i)
			}
			l, err := fit(samples)
			if err != nil || l.grows() != c.grows {
				t.Errorf("grows = %v, %v: %v", l.grows(), err, l)
			}
		})
	}
	if _, err := fit(make([]float64, 2*blocks-1)); err == nil {
		t.Error("a trend of too few samples")
	}
}

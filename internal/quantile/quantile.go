// Package quantile computes quantiles of histograms.
package quantile

// Of returns the q-quantile of values that were counted in buckets, by linear interpolation
// within a bucket, as histogram_quantile of Prometheus. counts has the number of values of
// each bucket, one more than there are bounds: the last is for values above all bounds. A
// quantile among these is the last bound. ok is false without values or bounds.
func Of(q float64, bounds, counts []float64) (value float64, ok bool) {
	total := 0.0
	for _, n := range counts {
		total += n
	}
	if total <= 0 || len(bounds) == 0 || len(counts) != len(bounds)+1 {
		return 0, false
	}
	rank, below, lower := q*total, 0.0, 0.0
	for i, bound := range bounds {
		if n := counts[i]; n > 0 && below+n >= rank {
			return lower + (bound-lower)*(rank-below)/n, true
		}
		below, lower = below+counts[i], bound
	}
	return lower, true
}

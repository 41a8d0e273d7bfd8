package quantile

import "testing"

func TestOf(t *testing.T) {
	bounds := []float64{1, 2, 4}
	for _, row := range []struct {
		q      float64
		counts []float64
		want   float64
		ok     bool
	}{
		{.5, []float64{10, 0, 0, 0}, .5, true},
		{.5, []float64{1, 0, 1, 0}, 1, true},
		{.75, []float64{1, 0, 1, 0}, 3, true},
		{.99, []float64{0, 0, 1, 99}, 4, true},
		{.5, []float64{0, 0, 0, 0}, 0, false},
		{.5, []float64{1, 0, 0}, 0, false},
	} {
		if got, ok := Of(row.q, bounds, row.counts); got != row.want || ok != row.ok {
			t.Errorf("quantile %v of %v is %v, %v; want %v, %v", row.q, row.counts, got, ok, row.want, row.ok)
		}
	}
}

package machinery

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// checkWeights refuses weights that do not fit the queues.
func checkWeights(queues []string, weights []int) error {
	if len(weights) > 0 && len(weights) != len(queues) || slices.ContainsFunc(weights, func(w int) bool { return w < 1 }) {
		return fmt.Errorf("%d queues have the weights %v", len(queues), weights)
	}
	return nil
}

// weighted returns the queues in an order drawn so that each is first as often
// as its weight says, and so on for the rest (Efraimidis and Spirakis, Weighted
// random sampling with a reservoir, 2006).
func weighted(queues []string, weights []int) []string {
	if len(weights) == 0 {
		return queues
	}
	type place struct {
		queue string
		at    float64
	}
	places := make([]place, len(queues))
	for i, q := range queues {
		places[i] = place{q, rand.ExpFloat64() / float64(weights[i])}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	drawn := make([]string, len(places))
	for i, p := range places {
		drawn[i] = p.queue
	}
	return drawn
}

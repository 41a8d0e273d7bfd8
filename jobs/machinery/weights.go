package machinery

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// checkWeights returns an error unless there are no weights or one of at least 1 for each
// queue.
func checkWeights(queues []string, weights []int) error {
	if len(weights) > 0 && len(weights) != len(queues) || slices.ContainsFunc(weights, func(w int) bool { return w < 1 }) {
		return fmt.Errorf("weights %v: give one weight of at least 1 for each of the %d queues", weights, len(queues))
	}
	return nil
}

// weighted returns the queues in random order: the probability that a queue comes first is
// proportional to its weight, and likewise for the rest (Efraimidis and Spirakis,
// Weighted random sampling with a reservoir, 2006).
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

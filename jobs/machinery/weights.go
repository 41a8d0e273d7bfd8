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

// weighted returns the queues in random order. The probability that a queue is first is
// proportional to its weight; the same applies to each further place among the remaining
// queues (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006).
// Without weights it returns the queues unchanged.
func weighted(queues []string, weights []int) []string {
	if len(weights) == 0 {
		return queues
	}
	type place struct {
		queue string
		key   float64 // random sort key
	}
	places := make([]place, len(queues))
	for i, q := range queues {
		places[i] = place{q, rand.ExpFloat64() / float64(weights[i])}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.key, b.key) })
	drawn := make([]string, len(places))
	for i, p := range places {
		drawn[i] = p.queue
	}
	return drawn
}

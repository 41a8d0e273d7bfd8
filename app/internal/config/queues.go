package config

import (
	"strconv"
	"strings"
)

// maxWeight bounds the weight of a queue.
const maxWeight = 1000

// queues reads -queue: names alone, which are in order of priority, or each with
// a weight. A name that is wrong is validate's to find.
func (f *flags) parseQueues(parts []string) (names []string, weights []int) {
	for _, part := range parts {
		name, text, weighted := strings.Cut(part, "=")
		names = append(names, name)
		if !weighted {
			continue
		}
		w, err := strconv.Atoi(text)
		if err != nil || w < 1 || w > maxWeight {
			f.fault("-queue: %q: a weight is a number from 1 to %d", part, maxWeight)
		}
		weights = append(weights, w)
	}
	if len(weights) > 0 && len(weights) < len(names) {
		f.fault("-queue: give all queues a weight, or none")
	}
	return names, weights
}

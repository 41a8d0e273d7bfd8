package config

import (
	"strconv"
	"strings"
)

// maxWeight is the largest weight of a queue.
const maxWeight = 1000

// parseQueues parses -queue: names in order of priority, or name=weight for each queue.
// validate checks the names.
func (f *flags) parseQueues(parts []string) (names []string, weights []int) {
	for _, part := range parts {
		name, text, weighted := strings.Cut(part, "=")
		names = append(names, name)
		if !weighted {
			continue
		}
		w, err := strconv.Atoi(text)
		if err != nil || w < 1 || w > maxWeight {
			f.fault("-queue: %q: a weight must be a number from 1 to %d", part, maxWeight)
		}
		weights = append(weights, w)
	}
	if len(weights) > 0 && len(weights) < len(names) {
		f.fault("-queue: give a weight to all queues or to none")
	}
	return names, weights
}

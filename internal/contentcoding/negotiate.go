// Package contentcoding chooses a content coding for a response (RFC 9110 §8.4.1,
// §12.5.3) and encodes bodies with it.
package contentcoding

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// identity is the name for no coding. An uncompressed response needs no coding in
// Accept-Encoding, but a client may give it a weight (RFC 9110 §12.5.3).
const identity = "identity"

// Accepted returns those of the offered codings that a client accepts, given the value of
// its Accept-Encoding: the one with the highest weight first, and codings of equal weight
// in the order of offered. It leaves out codings that the client wants less than an
// uncompressed response. Names are compared without regard to case. A weight that is not
// a number from 0 to 1 counts as 0.
func Accepted(acceptEncoding string, offered ...string) (accepted []string) {
	least := max(0, weightOf(acceptEncoding, identity))
	weights := make(map[string]float64, len(offered))
	for _, coding := range offered {
		weight := weightOf(acceptEncoding, coding)
		if weight < 0 {
			weight = weightOf(acceptEncoding, "*")
		}
		if weight > 0 && weight >= least {
			weights[coding] = weight
			accepted = append(accepted, coding)
		}
	}
	slices.SortStableFunc(accepted, func(a, b string) int { return cmp.Compare(weights[b], weights[a]) })
	return accepted
}

// weightOf returns the weight of a coding that the list names, or -1 if the list does not
// name it. A coding without a weight has the weight 1.
func weightOf(list, coding string) float64 {
	for item := range strings.SplitSeq(list, ",") {
		name, parameter, weighted := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		if !weighted {
			return 1
		}
		key, value, _ := strings.Cut(parameter, "=")
		weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err == nil && strings.EqualFold(strings.TrimSpace(key), "q") && weight >= 0 && weight <= 1 {
			return weight
		}
		return 0
	}
	return -1
}

// Compressible reports whether compression usually makes content of this media type
// smaller.
func Compressible(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch mediaType {
	case "application/json", "application/javascript", "application/xml", "application/wasm", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(mediaType, "text/") || strings.HasSuffix(mediaType, "+json") || strings.HasSuffix(mediaType, "+xml")
}

package metrics

import (
	"strconv"
	"time"

	"github.com/galeserver/gale/prefork"
)

// Layout of the words of a slot's tally. It must not change, except for additions, because
// processes of two releases may write to the same page.
const (
	durationWord = 0  // first word of the histogram of durations: a word per bucket
	sumWord      = 16 // sum of the durations, in microseconds
	overflowWord = 17 // requests that did not fit into the table
	tableWord    = 48 // first word of the table of requests by method and code, up to the end
)

// bounds are the upper bounds of the buckets of durations, in seconds.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// methods are the values of the label method. The table contains their indices.
var methods = [...]string{"other", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// other is the label value for all other methods and codes.
const other = "other"

// A word of the table has its key, method and code, in the upper 16 bits (0 if it is free)
// and its count in the lower 48 bits. After the key is set, goroutines and processes count
// with one atomic addition.
const (
	countBits = 48
	countMask = 1<<countBits - 1
	codeBits  = 10
)

// Requests counts requests in a slot's tally. Goroutines and processes may count
// concurrently.
type Requests struct{ Tally *prefork.AppCounters }

// Count counts a request with the status code and the duration of its response.
func (r Requests) Count(method string, code int, took time.Duration) {
	t := r.Tally
	t[durationWord+class(took)].Add(1)
	t[sumWord].Add(took.Microseconds())
	key := keyOf(method, code)
	size := prefork.NumAppCounters - tableWord
	for i, at := 0, int(key)*31%size; i < size; i, at = i+1, (at+1)%size {
		word := &t[tableWord+at]
		had := word.Load() >> countBits
		if had == 0 && !word.CompareAndSwap(0, key<<countBits) {
			had = word.Load() >> countBits // another one has set the key
		} else if had == 0 {
			had = key
		}
		if had == key {
			word.Add(1)
			return
		}
	}
	t[overflowWord].Add(1)
}

// class returns the index of the bucket for a duration.
func class(took time.Duration) int {
	seconds := took.Seconds()
	for i, bound := range bounds {
		if seconds <= bound {
			return i
		}
	}
	return len(bounds)
}

// keyOf packs method and code into a number from 1 to 1<<15. A code that is not valid in HTTP
// is stored as 0.
func keyOf(method string, code int) int64 {
	number := int64(0)
	for i, m := range methods {
		if m == method {
			number = int64(i)
		}
	}
	if code < 100 || code > 999 {
		code = 0
	}
	return (number+1)<<codeBits | int64(code)
}

// requestsOf returns the number of requests by method and code. Codes are strings, because
// one of them is "other".
func requestsOf(tally []int64) map[[2]string]int64 {
	found := map[[2]string]int64{}
	for _, word := range tally[tableWord:] {
		if word == 0 {
			continue
		}
		key := word >> countBits
		method, code := other, other
		if m := key>>codeBits - 1; m > 0 && m < int64(len(methods)) {
			method = methods[m]
		}
		if c := key & (1<<codeBits - 1); c != 0 {
			code = strconv.FormatInt(c, 10)
		}
		found[[2]string{method, code}] += word & countMask
	}
	if n := tally[overflowWord]; n > 0 {
		found[[2]string{other, other}] += n
	}
	return found
}

// durationsOf returns the histogram of durations: the number of requests, the sum in seconds,
// and the cumulative counts by upper bound.
func durationsOf(tally []int64) (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = map[float64]uint64{}
	for i, bound := range bounds {
		count += uint64(tally[durationWord+i])
		upTo[bound] = count
	}
	return count + uint64(tally[durationWord+len(bounds)]), float64(tally[sumWord]) / 1e6, upTo
}

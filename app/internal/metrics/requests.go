package metrics

import (
	"strconv"
	"time"

	"github.com/galeserver/gale/prefork"
)

// What the words of a slot's tally mean. This is never changed, only added to:
// processes of two releases write to the same page.
const (
	durationWord = 0  // requests by duration, a word for each of bounds and one beyond
	sumWord      = 16 // of their durations, in microseconds
	elseWord     = 17 // requests that the table had no room for
	tableWord    = 48 // to the end: requests by method and code
)

// bounds are the upper ends of the classes of durations, in seconds.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// methods are those that are told apart; they stand in the table by number.
var methods = [...]string{"other", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// other is what methods and codes are called that are not told apart.
const other = "other"

// A word of the table says what it counts in its upper 16 bits (0: nothing yet)
// and how many there were in the others: a word that is claimed is counted in
// with one atomic addition, whoever else does so.
const (
	countBits = 48
	countMask = 1<<countBits - 1
	codeBits  = 10
)

// Requests counts requests on a slot's tally, from many goroutines and
// processes at once.
type Requests struct{ Tally *prefork.AppCounters }

// Count counts a request that was answered with a code, and how long it took.
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
			had = word.Load() >> countBits // somebody was faster
		} else if had == 0 {
			had = key
		}
		if had == key {
			word.Add(1)
			return
		}
	}
	t[elseWord].Add(1)
}

// class is the number of the class that a duration belongs to.
func class(took time.Duration) int {
	for i, bound := range bounds {
		if took.Seconds() <= bound {
			return i
		}
	}
	return len(bounds)
}

// keyOf packs method and code into a number from 1 to 1<<15. A code that no
// answer of HTTP has is 0.
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

// requestsOf reads what Count has written: how many requests of which method
// and code. Codes are texts since one is "other".
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
	if n := tally[elseWord]; n > 0 {
		found[[2]string{other, other}] += n
	}
	return found
}

// durationsOf reads the histogram of durations: how many there were, their sum
// in seconds, and how many took no longer than each of bounds.
func durationsOf(tally []int64) (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = map[float64]uint64{}
	for i, bound := range bounds {
		count += uint64(tally[durationWord+i])
		upTo[bound] = count
	}
	return count + uint64(tally[durationWord+len(bounds)]), float64(tally[sumWord]) / 1e6, upTo
}

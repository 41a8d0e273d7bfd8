package metrics

import (
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/prefork"
)

func words(t *prefork.AppCounters) []int64 {
	all := make([]int64, prefork.NumAppCounters)
	for i := range t {
		all[i] = t[i].Load()
	}
	return all
}

func TestRequestsAreCountedByMethodAndCode(t *testing.T) {
	var tally prefork.AppCounters
	r := Requests{&tally}
	want := map[[2]string]int64{}
	for _, c := range []struct {
		method string
		code   int
		name   [2]string
	}{
		{"GET", 200, [2]string{"GET", "200"}},
		{"GET", 999, [2]string{"GET", "999"}},
		{"PATCH", 503, [2]string{"PATCH", "503"}},
		{"other", 400, [2]string{"other", "400"}},
		{"BREW", 418, [2]string{"other", "418"}},
		{"POST", 0, [2]string{"POST", "other"}},
		{"POST", 1000, [2]string{"POST", "other"}},
		{"DELETE", -1, [2]string{"DELETE", "other"}},
	} {
		r.Count(c.method, c.code, 3*time.Millisecond)
		want[c.name]++
	}
	if got := requestsOf(words(&tally)); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	count, sum, upTo := durationsOf(words(&tally))
	if count != 8 || sum < .0239 || sum > .0241 || upTo[.0025] != 0 || upTo[.005] != 8 || upTo[60] != 8 {
		t.Errorf("%d requests, %v s, %v", count, sum, upTo)
	}
}

func TestDurationsBeyondTheLastClass(t *testing.T) {
	var tally prefork.AppCounters
	r := Requests{&tally}
	r.Count("GET", 200, time.Hour)
	r.Count("GET", 200, time.Minute)
	if count, sum, upTo := durationsOf(words(&tally)); count != 2 || sum != 3660 || upTo[60] != 1 {
		t.Errorf("%d requests, %v s, %v", count, sum, upTo)
	}
}

// Pairs that do not fit into the table are counted as other. The sum is exact, even with
// concurrent counting.
func TestRequestsBeyondTheTable(t *testing.T) {
	var tally prefork.AppCounters
	const codes, clients = 60, 8
	var counting sync.WaitGroup
	for range clients {
		counting.Go(func() { // ends by itself
			for i := range codes * len(methods) {
				Requests{&tally}.Count(methods[i%len(methods)], 400+i/len(methods), 0)
			}
		})
	}
	counting.Wait()
	got := requestsOf(words(&tally))
	sum := int64(0)
	for key, n := range got {
		sum += n
		if n != clients && key != [2]string{other, other} {
			t.Errorf("%v: %d", key, n)
		}
	}
	if sum != clients*codes*int64(len(methods)) || len(got) != prefork.NumAppCounters-tableWord+1 {
		t.Errorf("%d requests in %d series", sum, len(got))
	}
}

func BenchmarkCount(b *testing.B) {
	var tally prefork.AppCounters
	r := Requests{&tally}
	for i := range 100 {
		r.Count("POST", 400+i, 0)
	}
	for b.Loop() {
		r.Count("GET", 200, 40*time.Microsecond)
	}
}

func FuzzRequestsOf(f *testing.F) {
	f.Add(uint16(1), int64(1)<<countBits)
	f.Fuzz(func(t *testing.T, at uint16, word int64) {
		tally := make([]int64, prefork.NumAppCounters)
		tally[int(at)%prefork.NumAppCounters] = word
		for key := range requestsOf(tally) {
			if _, err := strconv.Atoi(key[1]); err != nil && key[1] != other {
				t.Errorf("code %q", key[1])
			}
		}
		durationsOf(tally)
	})
}

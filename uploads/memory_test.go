package uploads

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"gale/pool"
)

// synthetic is a reader of n bytes that are nowhere.
func synthetic(n int64) io.Reader {
	return io.LimitReader(readerFunc(func(p []byte) (int, error) { clear(p); return len(p), nil }), n)
}

// What is allocated in all bounds what is held at any moment, and unlike that it
// does not depend on when the collector runs.
func TestMemoryIsFlat(t *testing.T) {
	const size = 1 << 30
	s := openStore(t, smallDisk(t, "size=1100m"), Options{Pool: withPool(t, pool.Options{Workers: 2})})
	upload := func(filename string, n int64) uint64 {
		head := "--" + testBoundary + "\r\nContent-Disposition: form-data; name=d; filename=" + filename + "\r\n\r\n"
		body := io.MultiReader(strings.NewReader(head), synthetic(n), strings.NewReader("\r\n--"+testBoundary+"--\r\n"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a, err := s.Multipart(t.Context(), body, testBoundary)
		runtime.ReadMemStats(&after)
		if err != nil || a.Code != CodeStored || a.Files[0].Size != n {
			t.Fatalf("%+v, %v", a, err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	small := upload("small", 1)
	large := upload("large", size)
	t.Logf("allocated for 1 byte %d KiB, for 1 GiB %d KiB", small>>10, large>>10)
	if large > 8<<20 {
		t.Errorf("1 GiB took %d KiB of allocations", large>>10)
	}
}

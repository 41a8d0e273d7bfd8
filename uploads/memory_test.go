package uploads

import (
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/pool"
)

// zeros returns a reader of n zero bytes that needs no memory for them.
func zeros(n int64) io.Reader {
	return io.LimitReader(readerFunc(func(p []byte) (int, error) { clear(p); return len(p), nil }), n)
}

// The test measures all allocations, not the memory in use: they are an upper bound of
// it and do not depend on the garbage collector.
func TestMemoryOfLargeUpload(t *testing.T) {
	const size = 1 << 30
	s := openStore(t, smallDisk(t, "size=1100m"), Options{Pool: withPool(t, pool.Options{Workers: 2})})
	upload := func(filename string, n int64) uint64 {
		head := "--" + testBoundary + "\r\nContent-Disposition: form-data; name=d; filename=" + filename + "\r\n\r\n"
		body := io.MultiReader(strings.NewReader(head), zeros(n), strings.NewReader("\r\n--"+testBoundary+"--\r\n"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp, err := s.Multipart(t.Context(), body, testBoundary)
		runtime.ReadMemStats(&after)
		if err != nil || resp.Code != CodeStored || resp.Files[0].Size != n {
			t.Fatalf("%+v, %v", resp, err)
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

// Stalled clients use up the large chunks. Further uploads use small ones until a large
// one is free again.
func TestStalledClientsUseFewLargeChunks(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	stall, sizes := make(chan struct{}), make(chan int, maxChunks+1)
	var done sync.WaitGroup
	reader := func() io.Reader {
		calls := 0
		return readerFunc(func(p []byte) (int, error) {
			if calls++; calls > 1 {
				return 0, io.EOF
			}
			sizes <- len(p)
			<-stall
			return 1, nil
		})
	}
	count := map[int]int{}
	for range maxChunks + 1 {
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		done.Go(func() { // ends with stall
			if n, err := u.ReadFrom(t.Context(), reader()); n != 1 || err != nil {
				t.Errorf("ReadFrom: %d, %v", n, err)
			}
		})
		count[<-sizes]++
	}
	if count[chunkSize] != maxChunks || count[smallChunkSize] != 1 {
		t.Errorf("sizes %v", count)
	}
	close(stall)
	done.Wait()
	u, err := s.Create(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	if _, err := u.ReadFrom(t.Context(), reader()); err != nil || <-sizes != chunkSize {
		t.Errorf("after the stalled clients: %v", err)
	}
}

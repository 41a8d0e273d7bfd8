package inspect

import (
	"io"
	"runtime"
	"testing"
)

// endlessReader is a large file whose content is generated when it is read: a head, followed by
// the repeated body.
type endlessReader struct {
	head, body []byte
	size, at   int64
}

func (r *endlessReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	from := r.head
	offset := r.at
	if offset >= int64(len(r.head)) {
		from = r.body
		offset = (offset - int64(len(r.head))) % int64(len(r.body))
	}
	n := copy(p[:min(int64(len(p)), r.size-r.at)], from[offset:])
	r.at += int64(n)
	return n, nil
}

func (r *endlessReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	r.at = offset
	return offset, nil
}

// The memory needed does not depend on the length of the file.
func TestMemoryOfLongWAV(t *testing.T) {
	const size = 200 << 20
	head := wave{channels: 2, bytes: 4, rate: 48000, data: size - 44}.file(nil)
	file := &endlessReader{head: head, body: wave{channels: 2, bytes: 4}.file(sine(8192, 2))[44:], size: size}

	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	r, _, err := Inspect(t.Context(), "long.wav", file, func(int, string) {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "duration", r.Duration, (size-44)/8/48000.)
	within(t, "RMS", *r.RMSDBFS, -9.03)
	if grown := int64(peak - before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	// Nor may each block leave garbage for the collector.
	if made := now.TotalAlloc - before.TotalAlloc; made > 8<<20 {
		t.Errorf("%d KiB were allocated", made>>10)
	}
}

// The same for an MP3. go-mp3 allocates memory for each frame, so this test measures only the
// memory that is still in use.
func TestMemoryOfLongMP3(t *testing.T) {
	body := sound(t, "speech-22050-cbr.mp3")
	file := &endlessReader{body: body, size: int64(len(body)) * 30}
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	_, _, err := Inspect(t.Context(), "long.mp3", file, func(percent int, _ string) {
		if percent%20 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak - before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}

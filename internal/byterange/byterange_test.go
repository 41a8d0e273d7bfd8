package byterange_test

import (
	"errors"
	"testing"

	"github.com/galeserver/gale/internal/byterange"

	"github.com/valyala/fasthttp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const huge = "99999999999999999999" // more than an int64 holds
	whole := byterange.Range{}
	for _, row := range []struct {
		field  string
		size   int64
		want   byterange.Range
		ranged bool
		err    error
	}{
		{"bytes=0-0", 10, byterange.Range{Start: 0, Length: 1}, true, nil},
		{"bytes=2-4", 10, byterange.Range{Start: 2, Length: 3}, true, nil},
		{"bytes=7-", 10, byterange.Range{Start: 7, Length: 3}, true, nil},
		{"bytes=7-99", 10, byterange.Range{Start: 7, Length: 3}, true, nil},
		{"bytes=0-" + huge, 10, byterange.Range{Start: 0, Length: 10}, true, nil},
		{"bytes=9-9223372036854775807", 10, byterange.Range{Start: 9, Length: 1}, true, nil},
		{"bytes=9-9223372036854775808", 10, byterange.Range{Start: 9, Length: 1}, true, nil},
		{"bytes=0000000000000000000000003-4", 10, byterange.Range{Start: 3, Length: 2}, true, nil},
		{"bytes=-3", 10, byterange.Range{Start: 7, Length: 3}, true, nil},
		{"bytes=-99", 10, byterange.Range{Start: 0, Length: 10}, true, nil},
		{"bytes=-" + huge, 10, byterange.Range{Start: 0, Length: 10}, true, nil},
		{"BYTES=2-4", 10, byterange.Range{Start: 2, Length: 3}, true, nil},
		{"bytes= 2-4 ", 10, byterange.Range{Start: 2, Length: 3}, true, nil},

		{"bytes=10-", 10, whole, true, nil}, // and so 416
		{"bytes=10-20", 10, whole, true, nil},
		{"bytes=" + huge + "-", 10, whole, true, nil},
		{"bytes=" + huge + "-" + huge, 10, whole, true, nil},
		{"bytes=" + huge + "-1" + huge, 10, whole, true, nil},
		{"bytes=0-0", 0, whole, true, nil},
		{"bytes=0-", 0, whole, true, nil},
		{"bytes=-0", 10, byterange.Range{Start: 10}, true, nil},
		{"bytes=-1", 0, whole, true, nil},

		{"bytes", 10, whole, true, byterange.ErrMalformed},
		{"bytes=", 10, whole, true, byterange.ErrMalformed},
		{"bytes=-", 10, whole, true, byterange.ErrMalformed},
		{"bytes=4-2", 10, whole, true, byterange.ErrMalformed},
		{"bytes=1" + huge + "-" + huge, 10, whole, true, byterange.ErrMalformed},
		{"bytes=" + huge + "-5", 10, whole, true, byterange.ErrMalformed},
		{"bytes=a-b", 10, whole, true, byterange.ErrMalformed},
		{"bytes=+1-2", 10, whole, true, byterange.ErrMalformed},
		{"bytes=1-+2", 10, whole, true, byterange.ErrMalformed},
		{"bytes=1--2", 10, whole, true, byterange.ErrMalformed},
		{"bytes=--1", 10, whole, true, byterange.ErrMalformed},
		{"bytes=0x1-2", 10, whole, true, byterange.ErrMalformed},
		{"bytes=0-1,3-4", 10, whole, false, nil},
		{"", 10, whole, false, nil},
		{"lines=1-2", 10, whole, false, nil},
	} {
		var h fasthttp.RequestHeader
		if row.field != "" {
			h.Set("Range", row.field)
		}
		part, ranged, err := byterange.Parse(&h, row.size)
		if part != row.want || ranged != row.ranged || !errors.Is(err, row.err) {
			t.Errorf("%q of %d: %+v, %v, %v", row.field, row.size, part, ranged, err)
		}
	}
	var h fasthttp.RequestHeader
	h.Add("Range", "bytes=0-1")
	h.Add("Range", "bytes=2-3")
	if part, ranged, _ := byterange.Parse(&h, 10); ranged {
		t.Errorf("two lines: %+v", part)
	}
}

// FuzzParse: a range lies within the representation. A length of 0 means that it is
// unsatisfiable.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=9223372036854775807-", "bytes=-9223372036854775808", "bytes=1-0", "bytes=a-b", "=-", "bytes=0-0,1-1"} {
		f.Add(seed, int64(10))
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		size = max(0, size)
		var h fasthttp.RequestHeader
		h.Set("Range", field)
		part, ranged, err := byterange.Parse(&h, size)
		if part.Start < 0 || part.Length < 0 || part.Start > size || part.Length > size-part.Start || (!ranged || err != nil) && part != (byterange.Range{}) {
			t.Errorf("%q of %d: %+v, %v", field, size, part, ranged)
		}
	})
}

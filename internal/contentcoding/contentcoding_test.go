package contentcoding

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"":                                 "",
		"gzip":                             "gzip",
		"gzip, deflate, br, zstd":          "zstd br gzip", // as browsers send it
		"GZip":                             "gzip",
		"x-gzip":                           "",
		"gzip;q=0":                         "",
		"gzip;q=0.000":                     "",
		"br;q=0.5,gzip;q=1.0":              "gzip br",
		"zstd;q=0.2, br;q=0.9, gzip;q=0.9": "br gzip zstd",
		"gzip ; q=0.5":                     "gzip",
		"gzip;Q=0.5":                       "gzip",
		"*":                                "zstd br gzip",
		"*;q=0":                            "",
		"*;q=0, gzip":                      "gzip",
		"gzip;q=0, *":                      "zstd br",
		"identity":                         "",
		"identity, gzip":                   "gzip", // equal weights
		"identity;q=1, gzip;q=0.5":         "",     // prefers an uncompressed response
		"identity;q=0.5, gzip;q=0.8":       "gzip",
		"identity;q=0":                     "",
		"identity;q=0, *":                  "zstd br gzip",
		"gzip;q=x":                         "",
		"gzip;q=":                          "",
		"gzip;q=-1":                        "",
		"gzip;q=2":                         "",
		"gzip;q=NaN":                       "",
		"gzip;level=9":                     "",
		"gzip;q=0.5;x=1":                   "",
		",, ;,gzip,":                       "gzip",
	} {
		if got := strings.Join(Accepted(header, Zstd, Brotli, Gzip), " "); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// FuzzAccepted checks that the result is part of what was offered, without repetition, and
// that the first element of the list decides, whatever follows.
func FuzzAccepted(f *testing.F) {
	for _, seed := range []string{"", "gzip", "*;q=0.5,gzip;q=0", "identity;q=0, br", ";;q==,", "gzip;q=1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		seen := map[string]bool{}
		for _, coding := range Accepted(header, Gzip, Brotli) {
			if coding != Gzip && coding != Brotli || seen[coding] {
				t.Errorf("%q: %q", header, coding)
			}
			seen[coding] = true
		}
		if len(Accepted("gzip;q=0,"+header, Gzip)) != 0 || len(Accepted("gzip,"+header, Gzip)) != 1 {
			t.Errorf("%q after gzip", header)
		}
	})
}

func TestCompressible(t *testing.T) {
	t.Parallel()
	for mediaType, want := range map[string]bool{
		"text/html; charset=utf-8": true, "Text/Plain": true, "application/json": true, "application/problem+json": true,
		"application/atom+xml ; x=y": true, "image/svg+xml": true, "application/wasm": true,
		"": false, "image/png": false, "application/octet-stream": false, "application/gzip": false, "audio/mpeg": false,
	} {
		if Compressible(mediaType) != want {
			t.Errorf("%q: %v", mediaType, !want)
		}
	}
}

func decode(t *testing.T, coding string, body []byte) (content []byte) {
	t.Helper()
	var err error
	switch coding {
	case Gzip:
		content, err = fasthttp.AppendGunzipBytes(nil, body)
	case Brotli:
		content, err = fasthttp.AppendUnbrotliBytes(nil, body)
	case Zstd:
		var r *zstd.Decoder
		if r, err = zstd.NewReader(bytes.NewReader(body)); err == nil {
			defer r.Close()
			content, err = io.ReadAll(r)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return content
}

// Encoders are used by many goroutines, with bodies of all sizes. The window of zstd must
// be one that browsers accept.
func TestEncode(t *testing.T) {
	t.Parallel()
	for level := MinLevel; level <= MaxLevel; level += 4 {
		e, err := NewEncoder(level, Gzip, Brotli, Zstd)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, size := range []int{0, 1, 1 << 10, 300 << 10} {
			for _, coding := range []string{Gzip, Brotli, Zstd} {
				all.Go(func() {
					body := bytes.Repeat([]byte("gale "), size/5+1)[:size]
					encoded := e.Encode(coding, body)
					if got := decode(t, coding, encoded); !bytes.Equal(got, body) {
						t.Errorf("%s, level %d, %d bytes: got %d bytes", coding, level, size, len(got))
					}
					if size > 1<<10 && len(encoded) > size/10 {
						t.Errorf("%s, level %d: %d of %d bytes", coding, level, len(encoded), size)
					}
				})
			}
		}
		all.Wait()
		var frame zstd.Header
		if err := frame.Decode(e.Encode(Zstd, make([]byte, 20<<20))); err != nil || frame.WindowSize > zstdWindow {
			t.Errorf("level %d: window %d, %v", level, frame.WindowSize, err)
		}
	}
}

func TestNewEncoderRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		level   int
		codings []string
		want    string
	}{
		{0, []string{Gzip}, "level 0 is not between 1 and 9"},
		{10, []string{Gzip}, "level 10 is not between 1 and 9"},
		{5, nil, "no codings"},
		{5, []string{Gzip, "deflate"}, `coding "deflate" is not one of: gzip, br, zstd`},
		{5, []string{Gzip, Gzip}, `coding "gzip" is repeated`},
	} {
		if _, err := NewEncoder(row.level, row.codings...); err == nil || err.Error() != row.want {
			t.Errorf("%d %q: %v", row.level, row.codings, err)
		}
	}
}

// BenchmarkEncode compares the codings on lists of tasks as JSON, at the default level of
// the server.
func BenchmarkEncode(b *testing.B) {
	e, err := NewEncoder(4, Gzip, Brotli, Zstd)
	if err != nil {
		b.Fatal(err)
	}
	for _, tasks := range []int{20, 1000} {
		random := rand.New(rand.NewPCG(1, 2))
		var body []byte
		for range tasks {
			body = fmt.Appendf(body, `{"id":"%016x%016x","task":"send_mail","state":%q,"queue":"default","attempts":%d,"created":"2026-11-29T%02d:%02d:%02d.%06dZ"},`,
				random.Uint64(), random.Uint64(), []string{"PENDING", "STARTED", "SUCCESS"}[random.IntN(3)], random.IntN(4), random.IntN(24), random.IntN(60), random.IntN(60), random.IntN(1e6))
		}
		for _, coding := range []string{Gzip, Brotli, Zstd} {
			b.Run(fmt.Sprintf("%s/%d", coding, len(body)), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				var size int
				for b.Loop() {
					size = len(e.Encode(coding, body))
				}
				b.ReportMetric(float64(len(body))/float64(size), "ratio")
			})
		}
	}
}

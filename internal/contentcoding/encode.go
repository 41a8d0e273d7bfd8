package contentcoding

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"
)

// Names of the codings that an Encoder knows.
const (
	Gzip   = "gzip" // RFC 1952
	Brotli = "br"   // RFC 7932
	Zstd   = "zstd" // RFC 8878
)

// MinLevel and MaxLevel are the bounds of a compression level.
const (
	MinLevel = 1 // fastest
	MaxLevel = 9 // smallest
)

// zstdWindow is the window of zstd in bytes. Each encoder needs memory for it, and browsers
// refuse more than 8 MiB (RFC 9659 §3).
const zstdWindow = 1 << 20

// Encoder encodes bodies. Its methods may be called from many goroutines at once.
type Encoder struct {
	level int
	zstd  *zstd.Encoder // EncodeAll only, so it has no goroutines and needs no Close
}

// NewEncoder returns an encoder. The error says that codings has an unknown or repeated
// name, or that level is out of bounds.
func NewEncoder(level int, codings ...string) (*Encoder, error) {
	if level < MinLevel || level > MaxLevel {
		return nil, fmt.Errorf("level %d is not between %d and %d", level, MinLevel, MaxLevel)
	}
	seen := map[string]bool{}
	for _, coding := range codings {
		switch {
		case coding != Gzip && coding != Brotli && coding != Zstd:
			return nil, fmt.Errorf("coding %q is not one of: %s, %s, %s", coding, Gzip, Brotli, Zstd)
		case seen[coding]:
			return nil, fmt.Errorf("coding %q is repeated", coding)
		}
		seen[coding] = true
	}
	if len(codings) == 0 {
		return nil, errors.New("no codings")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevel(level)), zstd.WithWindowSize(zstdWindow))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	return &Encoder{level: level, zstd: z}, nil
}

// zstdLevel returns the level of the library, which has three for the range of levels.
func zstdLevel(level int) zstd.EncoderLevel {
	switch {
	case level <= 2:
		return zstd.SpeedFastest
	case level <= 5:
		return zstd.SpeedDefault
	}
	return zstd.SpeedBetterCompression
}

// Encode returns body in a coding that NewEncoder got.
func (e *Encoder) Encode(coding string, body []byte) []byte {
	buffer := make([]byte, 0, len(body)/3)
	switch coding {
	case Brotli:
		return fasthttp.AppendBrotliBytesLevel(buffer, body, e.level)
	case Zstd:
		return e.zstd.EncodeAll(body, buffer)
	}
	return fasthttp.AppendGzipBytesLevel(buffer, body, e.level)
}

// Package inspect says what an uploaded sound file is: its format, how long it
// plays, how loud it is, what its tags say, and how its sound looks.
//
// A file is read once, front to back, whatever its length; memory stays flat.
//
//	file ─► input ──────────► SHA-256, progress, cancellation
//	          │
//	          ├─► wavReader ─► pcm ────────────► meter ─► Waveform
//	          └─► frameScanner ─► feeder ─► go-mp3 ─┘
//
// A file that is broken, cut off or not what its name says is an error that
// wraps ErrFormat and tells its owner what is wrong with it.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// ErrFormat is wrapped by every error that the file itself is to blame for: it
// is broken, cut off, not what its name says, or in an encoding that nothing
// here decodes. Trying again will not help.
var ErrFormat = errors.New("unusable sound file")

// Report is what a sound file turned out to be. Its JSON names are a contract;
// every one of them is always there.
type Report struct {
	// Format is "wav" or "mp3".
	Format string `json:"format"`
	// Duration is in seconds, to the microsecond. An MP3 plays a little longer
	// than what was encoded: that length is given if the file tells it, as LAME
	// does in an ID3 tag, and else that of its frames, as soxi does.
	Duration float64 `json:"duration"`
	// SampleRate is in Hz.
	SampleRate int `json:"sample_rate"`
	// Channels is that of the first frame, should an MP3 change midway.
	Channels int `json:"channels"`
	// BitDepth is the bits in a sample; nil for an MP3, which has none.
	BitDepth *int `json:"bit_depth"`
	// BitRate is in bit/s; of an MP3 with frames of different rates, the mean.
	BitRate int `json:"bit_rate"`
	// Tags holds title, artist, album, album_artist, composer, genre, year,
	// track, disc, comment, copyright and encoder, as far as the file has them.
	// A tag that cannot be read is left out: it does not spoil the sound.
	Tags map[string]string `json:"tags"`
	// PeakDBFS and RMSDBFS are over all channels, in dB relative to full scale,
	// where a square wave at full scale has an RMS of 0 dB, to two decimals, as
	// `sox FILE -n stats` prints them. Nil for digital silence.
	PeakDBFS *float64 `json:"peak_dbfs"`
	RMSDBFS  *float64 `json:"rms_dbfs"`
	// SHA256 is of the whole file, tags and all, in hex.
	SHA256 string `json:"sha256"`
}

// Accepts reports whether a file of that name can be inspected: .wav and .mp3,
// in upper or lower case.
func Accepts(filename string) bool { return reader(filename) != nil }

// reader returns what reads a file of that name, nil if nothing does.
func reader(name string) func(*input) (Report, *meter, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".wav":
		return readWAV
	case ".mp3":
		return readMP3
	}
	return nil
}

// Inspect reads all of r, a file called name, and returns what it is and how it
// looks. It uses about a mebibyte of memory, however long the file.
//
// progress, if not nil, is called by the calling goroutine with 0 to 100, never
// falling, and a short note, at most once for each percent.
//
// Errors wrap ErrFormat if the file is to blame, and a *pool.PanicError too if
// a library panicked over it. When ctx ends, Inspect stops at the next block
// and returns context.Cause(ctx). Anything else is an error of r.
func Inspect(ctx context.Context, name string, r io.ReadSeeker, progress func(percent int, note string)) (Report, *Waveform, error) {
	read := reader(name)
	if read == nil {
		return Report{}, nil, fmt.Errorf("%w: neither a .wav nor an .mp3 file name", ErrFormat)
	}
	in, err := newInput(ctx, r, progress)
	if err != nil {
		return Report{}, nil, err
	}
	report, sound, err := read(in)
	if err == nil {
		report.SHA256, err = in.finish()
	}
	if err != nil {
		// A library may have wrapped, renamed or dropped the error that the
		// file gave it; the file's own is the one that counts.
		return Report{}, nil, in.cause(err)
	}
	report.PeakDBFS, report.RMSDBFS = sound.levels()
	return report, sound.wave, nil
}

// broken is an error that the file is to blame for.
func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}

// damage is an error that the file is to blame for and a library found. The
// text is for the file's owner, the cause for the log.
type decodeError struct {
	error
	cause error
}

func (d decodeError) Unwrap() []error { return []error{d.error, d.cause} }

// seconds is how long so many samples of each channel play.
func seconds(samples int64, rate int) float64 {
	return math.Round(float64(samples)/float64(rate)*1e6) / 1e6
}

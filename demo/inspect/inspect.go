// Package inspect analyses an uploaded WAV or MP3 file: its format, duration, loudness
// and tags. It also draws its waveform.
//
// A file is read once, from start to end. The memory needed does not depend on its size.
//
//	file ─► input ──────────► SHA-256, progress, cancellation
//	          │
//	          ├─► wavReader ─► pcm ────────────► meter ─► Waveform
//	          └─► frameScanner ─► feeder ─► go-mp3 ─┘
//
// If a file is damaged or truncated, or its format does not match its name, the error wraps
// ErrFormat, and its text describes the problem for the owner of the file.
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

// ErrFormat is wrapped by every error that the file itself causes: it is damaged or
// truncated, its format does not match its name, or its encoding is not supported.
// Another attempt cannot succeed.
var ErrFormat = errors.New("unusable sound file")

// Report describes a sound file. Its JSON keys are stable and always present.
type Report struct {
	// Format is "wav" or "mp3".
	Format string `json:"format"`
	// Duration is the duration in seconds, rounded to microseconds. The frames of an MP3
	// last a little longer than the original sound, because the encoder adds silence. If
	// an ID3 tag (TLEN) gives the duration of the original, as LAME's tags do, Duration
	// is that one; otherwise it is the duration of the frames.
	Duration float64 `json:"duration"`
	// SampleRate is the number of samples per second of each channel, in Hz.
	SampleRate int `json:"sample_rate"`
	// Channels is the number of channels. If it changes within an MP3, it is that of the
	// first frame.
	Channels int `json:"channels"`
	// BitDepth is the number of bits in a sample. It is nil for an MP3, whose samples
	// have no fixed size.
	BitDepth *int `json:"bit_depth"`
	// BitRate is the bit rate in bit/s. If the bit rate of an MP3 varies, it is the mean.
	BitRate int `json:"bit_rate"`
	// Tags are the tags of the file. Possible names are title, artist, album,
	// album_artist, composer, genre, year, track, disc, comment, copyright and encoder.
	// Tags that cannot be read are left out and cause no error.
	Tags map[string]string `json:"tags"`
	// PeakDBFS and RMSDBFS are the peak and RMS levels over all channels, in dB relative
	// to full scale, rounded to two decimals. A square wave at full scale has an RMS
	// level of 0 dB. The values are those of `sox FILE -n stats`. They are nil for
	// digital silence.
	PeakDBFS *float64 `json:"peak_dbfs"`
	RMSDBFS  *float64 `json:"rms_dbfs"`
	// SHA256 is the SHA-256 of the whole file, including tags, in hex.
	SHA256 string `json:"sha256"`
}

// Accepts reports whether a file with that name can be inspected. The name must end in .wav
// or .mp3, in upper or lower case.
func Accepts(filename string) bool { return reader(filename) != nil }

// reader returns the function that reads a file with that name, or nil.
func reader(name string) func(*input) (Report, *meter, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".wav":
		return readWAV
	case ".mp3":
		return readMP3
	}
	return nil
}

// Inspect reads all of r, a file called name, and returns its report and waveform. It
// needs about 1 MiB of memory for a file of any size.
//
// progress may be nil. It is called in the calling goroutine, at most once for each
// percent, with a percentage that never decreases and a short note.
//
// If the file causes the error, the error wraps ErrFormat, and also a *pool.PanicError if a
// decoder panicked. When ctx ends, Inspect stops before the next read of r and returns
// context.Cause(ctx). All other errors come from r.
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
		// A library may have replaced the error that reading the file returned.
		return Report{}, nil, in.cause(err)
	}
	report.PeakDBFS, report.RMSDBFS = sound.levels()
	return report, sound.wave, nil
}

// formatError returns an error that wraps ErrFormat.
func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}

// decodeError is an error of a decoder library. Its text is for the owner of the file;
// the cause is for the log.
type decodeError struct {
	error
	cause error
}

func (d decodeError) Unwrap() []error { return []error{d.error, d.cause} }

// seconds returns the duration of samples (of one channel) at rate in Hz, rounded to
// microseconds.
func seconds(samples int64, rate int) float64 {
	return math.Round(float64(samples)/float64(rate)*1e6) / 1e6
}

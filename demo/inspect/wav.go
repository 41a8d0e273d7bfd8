package inspect

import (
	"encoding/binary"
	"io"
	"strings"
)

// The reader of RIFF chunks in this file is our own. github.com/go-audio/wav
// allocates what a LIST chunk claims to hold, up to 4 GiB, takes a data chunk
// that is truncated for a shorter one, and cannot decode floating point;
// golang.org/x/image/riff refuses every file whose outer length is wrong, which
// is what a recorder that writes to a pipe leaves.
//
// Sources: Microsoft and IBM, "Multimedia Programming Interface and Data
// Specifications 1.0" (RIFF, LIST INFO); EBU Tech 3306 (RF64).

const (
	// unknownSize is what is written, at least, for the length of the file and
	// its data by an encoder that cannot go back to fill it in: sox and
	// espeak-ng write about this, ffmpeg 0xFFFFFFFF.
	unknownSize = 0x7FFFF000
	// sizeInDS64 stands for a length that is in the ds64 chunk of an RF64 file.
	sizeInDS64 = 0xFFFFFFFF
	// pcmBlock is how many bytes of sound are decoded at once. No frame is
	// longer: its length is 16 bits wide.
	pcmBlock = 64 << 10
)

// wavReader reads the chunks of one WAVE file.
type wavReader struct {
	in            *input
	unknownLength bool   // the header has no size, because the file was written to a pipe
	dataSize      uint64 // from the ds64 chunk
	format        *wavFormat
	seenData      bool
	frames        int64 // samples of each channel
	sound         *meter
	tags          *tags
}

// readWAV reads a RIFF/WAVE or RF64 file.
func readWAV(in *input) (Report, *meter, error) {
	w := wavReader{in: in, sound: newMeter(), tags: newTags()}
	if err := w.header(); err != nil {
		return Report{}, nil, err
	}
	if err := w.chunks(); err != nil {
		return Report{}, nil, err
	}
	f := w.format
	return Report{
		Format:     "wav",
		Duration:   seconds(w.frames, f.sampleRate),
		SampleRate: f.sampleRate,
		Channels:   f.channels,
		BitDepth:   &f.bits,
		BitRate:    f.sampleRate * f.frameSize * 8,
		Tags:       w.tags.named,
	}, w.sound, nil
}

// header reads the twelve bytes that every WAVE file begins with.
func (w *wavReader) header() error {
	head := w.in.peek(12)
	if len(head) < 12 || string(head[8:12]) != "WAVE" || (string(head[:4]) != "RIFF" && string(head[:4]) != "RF64") {
		return formatError("not a RIFF/WAVE file%s", looksLike(head, wavKind))
	}
	w.unknownLength = binary.LittleEndian.Uint32(head[4:]) >= unknownSize
	return w.in.skip(12)
}

// chunks reads to the end of the file.
func (w *wavReader) chunks() error {
	for w.in.left() >= 8 {
		id, size, err := w.chunkHeader()
		if err != nil {
			return err
		}
		if w.seenData && !isChunkID(id) {
			if w.frames == 0 {
				return formatError("the data chunk is empty but %d bytes follow: the recording was never finished", w.in.left()+8)
			}
			break // what trails the sound is nobody's
		}
		if left := w.in.left(); size > left {
			return formatError("%s chunk is truncated: %d of %d bytes", strings.TrimSpace(id), left, size)
		}
		if err := w.chunk(id, size); err != nil {
			return err
		}
	}
	switch {
	case w.format == nil:
		return formatError("no fmt chunk")
	case !w.seenData:
		return formatError("no data chunk")
	}
	return nil
}

// chunkHeader reads the name of a chunk and its length, the real one where the
// header only has a sign for it.
func (w *wavReader) chunkHeader() (id string, size int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return "", 0, err
	}
	id, size = string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
	if id != "data" {
		return id, size, nil
	}
	if size == sizeInDS64 && w.dataSize > 0 {
		size = int64(min(w.dataSize, 1<<62))
	} else if size >= unknownSize && w.unknownLength {
		size = min(size, w.in.left())
	}
	return id, size, nil
}

// chunk reads one chunk, whole, and its padding byte. The file is known to be
// long enough; if it ends all the same it shrank meanwhile.
func (w *wavReader) chunk(id string, size int64) error {
	body := &io.LimitedReader{R: w.in, N: size}
	var err error
	switch {
	case id == "ds64":
		var sizes [16]byte // of the file and of its data
		if _, err = io.ReadFull(body, sizes[:]); err == nil {
			w.dataSize = binary.LittleEndian.Uint64(sizes[8:])
		}
	case id == "fmt " && w.format == nil:
		w.format, err = readFormat(body)
	case id == "data" && !w.seenData:
		w.seenData = true
		err = w.measure(body)
	case id == "LIST":
		err = w.tags.readInfo(body)
	case id == "id3 " || id == "ID3 ":
		if err = w.tags.readID3v2(body); body.N == 0 {
			err = nil // the chunk was whole, whatever the tag in it claims
		}
	}
	if endOfFile(err) {
		err = formatError("%s chunk is truncated", strings.TrimSpace(id))
	}
	if err != nil {
		return err
	}
	if err := w.in.skip(body.N); err != nil {
		return err
	}
	// A chunk of odd length is padded with a zero, which some writers forget.
	if pad := w.in.peek(1); size%2 == 1 && len(pad) == 1 && !isChunkID(string(pad)) {
		return w.in.skip(1)
	}
	return nil
}

// measure decodes the sound in the data chunk.
func (w *wavReader) measure(data *io.LimitedReader) error {
	if w.format == nil {
		return formatError("no fmt chunk before the data chunk")
	}
	frame := w.format.frameSize
	raw := make([]byte, pcmBlock-pcmBlock%frame)
	samples := make([]float64, len(raw)/w.format.sampleSize)
	for data.N >= int64(frame) {
		n := int(min(data.N, int64(len(raw))))
		n -= n % frame
		if _, err := io.ReadFull(data, raw[:n]); err != nil {
			return err
		}
		w.format.decode(samples, raw[:n])
		w.sound.add(samples[:n/w.format.sampleSize], w.format.channels)
		w.frames += int64(n / frame)
	}
	return nil
}

// printable reports whether id may be the name of a chunk.
func isChunkID(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

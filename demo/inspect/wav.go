package inspect

import (
	"encoding/binary"
	"io"
	"strings"
)

// This file has its own reader of RIFF chunks, because the libraries have faults.
// github.com/go-audio/wav allocates the size that a LIST chunk claims, up to 4 GiB, reads a
// truncated data chunk without an error, and cannot decode floating point.
// golang.org/x/image/riff refuses every file whose total size in the header is wrong; a
// recorder that writes to a pipe produces such files.
//
// Sources: Microsoft and IBM, "Multimedia Programming Interface and Data
// Specifications 1.0" (RIFF, LIST INFO); EBU Tech 3306 (RF64).

const (
	// unknownSize is the smallest size that means "unknown". An encoder that writes to a
	// pipe cannot fill in the size of the file and of its data afterwards. sox and
	// espeak-ng write about this value, ffmpeg writes 0xFFFFFFFF.
	unknownSize = 0x7FFFF000
	// sizeInDS64 is the size that means: the size is in the ds64 chunk of an RF64 file.
	sizeInDS64 = 0xFFFFFFFF
	// pcmBlock is the number of bytes that are decoded at once. A frame is never larger,
	// because its size is stored in 16 bits.
	pcmBlock = 64 << 10
)

// wavReader reads the chunks of one WAVE file.
type wavReader struct {
	in            *input
	unknownLength bool       // whether the header has no size, because the file was written to a pipe
	dataSize      uint64     // size of the data from the ds64 chunk, in bytes
	format        *wavFormat // content of the fmt chunk; nil until it was read
	seenData      bool       // whether the data chunk was read
	frames        int64      // number of samples per channel
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

// chunks reads all chunks up to the end of the file.
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
			break // data after the sound that is not a chunk is ignored
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

// chunkHeader reads the name of a chunk and its size in bytes. If the header contains
// unknownSize or sizeInDS64, it determines the real size of the data.
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

// chunk reads a whole chunk and its padding byte. The caller has checked that the file is long
// enough, so a file that ends too early was truncated after that check.
func (w *wavReader) chunk(id string, size int64) error {
	body := &io.LimitedReader{R: w.in, N: size}
	var err error
	switch {
	case id == "ds64":
		var sizes [16]byte // size of the file and size of its data
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
			err = nil // the chunk is complete, even if the tag in it claims a larger size
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
	// A chunk of odd size is padded with a zero byte, but some writers omit it.
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

// isChunkID reports whether id may be the name of a chunk: it has only printable ASCII
// characters.
func isChunkID(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// Package logtail keeps the last log lines of all processes of a server in memory that they
// share. A process writes a line without a lock between processes and without a system call,
// so that the lines of killed and of hanging processes are kept, too.
package logtail

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Size is the size of the memory for New in bytes: a head, and 512 KiB of lines.
const Size = headSize + 512<<10

const (
	headSize = 64
	wordSize = 8
	// maxLine is the number of bytes that are kept of a line.
	maxLine = 8 << 10
)

// Tail is the memory with the last lines. Its methods may be called by several goroutines
// and processes at the same time. Nil keeps nothing.
//
// The first word of the memory is the number of bytes that were ever reserved. A writer
// reserves space by adding to it. Each line begins at a multiple of eight bytes with a word
// that has the position and the length of the line. It is written after the text, so a line
// that a killed process has not completed is not read.
type Tail struct {
	mu   sync.Mutex // held within a process while a line is written or all are read
	next *atomic.Uint64
	ring []byte
}

// New returns the Tail in mem, which is zero or was used by other Tails. mem must begin at a
// multiple of eight bytes. Without memory for at least one line, New returns nil.
func New(mem []byte) *Tail {
	if len(mem) < headSize+2*maxLine {
		return nil
	}
	ring := mem[headSize:]
	return &Tail{next: (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(mem))), ring: ring[:len(ring)/wordSize*wordSize]}
}

// Write adds a line, or several that are separated by line feeds. It never fails.
func (t *Tail) Write(text []byte) (int, error) {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
			t.add(line[:min(len(line), maxLine)])
		}
	}
	return len(text), nil
}

func (t *Tail) add(line []byte) {
	size := space(len(line))
	at := (t.next.Add(size) - size) &^ (wordSize - 1) // aligned, whatever a faulty process has written
	t.word(at).Store(0)
	start := int((at + wordSize) % uint64(len(t.ring)))
	n := copy(t.ring[start:], line)
	copy(t.ring, line[n:])
	t.word(at).Store(head(at, len(line)))
}

// space returns the number of bytes that a line needs.
func space(length int) uint64 {
	return uint64(wordSize + (length+wordSize-1)/wordSize*wordSize)
}

// head returns the word before a line. It is never zero.
func head(at uint64, length int) uint64 { return (at/wordSize+1)<<16 | uint64(length) }

// word returns the word at a position.
func (t *Tail) word(at uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&t.ring[at%uint64(len(t.ring))]))
}

// Lines returns the last lines, the oldest first, and at most limit of them.
func (t *Tail) Lines(limit int) (lines []string) {
	if t == nil {
		return nil
	}
	ring, from, to := t.copyRing()
	for at := from; at < to && to-at >= wordSize; {
		word := binary.NativeEndian.Uint64(ring[at%uint64(len(ring)):])
		length := int(word & 0xffff)
		if length > maxLine || word != head(at, length) || space(length) > to-at {
			at += wordSize // within a line whose beginning is lost or was not completed
			continue
		}
		start := int((at + wordSize) % uint64(len(ring)))
		line := append([]byte(nil), ring[start:min(start+length, len(ring))]...)
		lines = append(lines, string(append(line, ring[:length-len(line)]...)))
		at += space(length)
	}
	return slices.Clone(lines[max(len(lines)-limit, 0):])
}

// copyRing returns a copy of the ring, and the range of positions that no other process has
// overwritten while it was made.
func (t *Tail) copyRing() (ring []byte, from, to uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to = t.next.Load()
	ring = slices.Clone(t.ring)
	if after, size := t.next.Load(), uint64(len(ring)); after > size {
		from = after - size
	}
	return ring, (from + wordSize - 1) / wordSize * wordSize, max(to, from)
}

package logtail

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestLastLines(t *testing.T) {
	tail := New(make([]byte, Size))
	if lines := tail.Lines(10); len(lines) != 0 {
		t.Errorf("%q", lines)
	}
	for _, text := range []string{"one\n", "two\nthree\n", "", "no line feed"} {
		if n, err := tail.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if got, want := tail.Lines(10), []string{"one", "two", "three", "", "no line feed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := tail.Lines(2), []string{"", "no line feed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_, _ = tail.Write([]byte(strings.Repeat("x", maxLine+1) + "\n"))
	if got := tail.Lines(1)[0]; len(got) != maxLine {
		t.Errorf("%d bytes of a long line", len(got))
	}
}

// Old lines are overwritten by new ones, and each line is whole.
func TestWrapsAround(t *testing.T) {
	mem := make([]byte, headSize+3*maxLine)
	tail := New(mem)
	line := func(i int) string { return fmt.Sprint(i, " ", strings.Repeat("abcdefg", i%97), i) }
	for i := range 5000 {
		if _, _ = tail.Write([]byte(line(i))); i%7 > 0 {
			continue
		}
		lines := tail.Lines(5000)
		for back, got := range slices.Backward(lines) {
			if want := line(i - (len(lines) - 1 - back)); got != want {
				t.Fatalf("after line %d: %q, want %q", i, got, want)
			}
		}
		if i > 200 && len(lines) < 40 {
			t.Fatalf("after line %d: only %d lines", i, len(lines))
		}
	}
	if again := New(mem).Lines(5000); !slices.Equal(again, tail.Lines(5000)) || len(again) == 0 {
		t.Error("another process reads other lines")
	}
}

// Several processes write into the same memory: here several Tails, each with a lock of its own.
func TestManyWriters(t *testing.T) {
	mem := make([]byte, headSize+16*maxLine)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { // ends after 300 lines
			tail := New(mem)
			for i := range 300 {
				_, _ = fmt.Fprintf(tail, "writer %d line %03d %s", w, i, strings.Repeat("x", i%50))
			}
		})
	}
	writers.Wait()
	next := map[string]int{}
	lines := New(mem).Lines(2000)
	for _, line := range lines {
		var w, i int
		if _, err := fmt.Sscanf(line, "writer %d line %d ", &w, &i); err != nil || line != fmt.Sprintf("writer %d line %03d %s", w, i, strings.Repeat("x", i%50)) {
			t.Errorf("%q: %v", line, err)
		}
		if i < next[fmt.Sprint(w)] {
			t.Errorf("%q comes after line %d", line, next[fmt.Sprint(w)]-1)
		}
		next[fmt.Sprint(w)] = i + 1
	}
	if len(lines) != 1200 {
		t.Errorf("%d lines", len(lines))
	}
}

// A process that was killed while it wrote a line leaves a gap, which is skipped.
func TestIncompleteLine(t *testing.T) {
	tail := New(make([]byte, headSize+2*maxLine))
	_, _ = tail.Write([]byte("before"))
	tail.next.Add(space(100))
	_, _ = tail.Write([]byte("after"))
	if got, want := tail.Lines(10), []string{"before", "after"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWithoutMemory(t *testing.T) {
	tail := New(nil)
	if n, err := tail.Write([]byte("line\n")); n != 5 || err != nil || tail.Lines(1) != nil {
		t.Errorf("%d, %v, %q", n, err, tail.Lines(1))
	}
}

// Faulty processes can write anything to the memory.
func FuzzLines(f *testing.F) {
	f.Add(uint64(1<<20), []byte("anything"))
	f.Add(^uint64(0), []byte{})
	f.Fuzz(func(_ *testing.T, next uint64, content []byte) {
		mem := make([]byte, headSize+2*maxLine)
		tail := New(mem)
		for i := headSize; len(content) > 0 && i < len(mem); i += len(content) {
			copy(mem[i:], content)
		}
		tail.next.Store(next)
		_ = tail.Lines(100)
		_, _ = tail.Write([]byte("line"))
		_ = tail.Lines(100)
	})
}

package bytesize

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "1KiB": 1 << 10, "3 MiB": 3 << 20, "2GiB": 2 << 30} {
		n, err := Parse(text)
		if again, errAgain := Parse(Format(n)); err != nil || n != want || errAgain != nil || again != n {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1MB", "1.5MiB", "KiB", "9223372036854775807KiB"} {
		if n, err := Parse(text); err == nil || n != 0 {
			t.Errorf("%q: %d, want an error", text, n)
		}
	}
}

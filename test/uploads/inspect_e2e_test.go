//go:build e2e

package uploads_test

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// report is the result of the task inspect.
type report struct {
	Duration   float64
	SampleRate int `json:"sample_rate"`
	Channels   int
	BitRate    int      `json:"bit_rate"`
	Peak       *float64 `json:"peak_dbfs"`
	RMS        *float64 `json:"rms_dbfs"`
	SHA256     string
}

// TestE2EInspectAgreesWithSox uploads sounds made by Debian's tools, and compares the
// result of inspect with the output of soxi, sox and sha256sum.
func TestE2EInspectAgreesWithSox(t *testing.T) {
	g := harness.Start(t, t.TempDir())
	dir := t.TempDir()
	generated := map[string][]string{
		"sine-16.wav":    {"-r", "48000", "-b", "16", "-c", "2"},
		"sine-24.wav":    {"-r", "44100", "-b", "24", "-c", "1"},
		"sine-8.wav":     {"-r", "8000", "-b", "8", "-c", "1"},
		"sine-float.wav": {"-r", "96000", "-b", "32", "-e", "floating-point", "-c", "6"},
	}
	files := []string{"demo/inspect/testdata/speech.wav", "demo/inspect/testdata/speech.mp3"}
	for name, format := range generated {
		path := filepath.Join(dir, name)
		args := append([]string{"-n", "-R"}, append(format, path, "synth", "7.5", "sine", "440", "vol", "0.5")...)
		harness.Run(t, "sox", args...)
		files = append(files, path)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			response := harness.Upload(t, g, "sounds", path)
			task := harness.AwaitTask(t, g, response.Files[0].Task)
			var r report
			if err := json.Unmarshal(task.Result, &r); err != nil || task.State != "success" {
				t.Fatalf("%+v, %v", task, err)
			}
			agree(t, "duration", r.Duration, number(t, harness.Run(t, "soxi", "-D", path)))
			agree(t, "sample rate", float64(r.SampleRate), number(t, harness.Run(t, "soxi", "-r", path)))
			agree(t, "channels", float64(r.Channels), number(t, harness.Run(t, "soxi", "-c", path)))
			stats := harness.Run(t, "sox", path, "-n", "stats")
			agree(t, "peak", *r.Peak, stat(t, stats, "Pk lev dB"))
			agree(t, "RMS", *r.RMS, stat(t, stats, "RMS lev dB"))
			if sum := strings.Fields(harness.Run(t, "sha256sum", path))[0]; sum != r.SHA256 {
				t.Errorf("sha256 %s; want %s", r.SHA256, sum)
			}
			// soxi's bit rate includes the tags, ffprobe's does not.
			probe := harness.Run(t, "ffprobe", "-v", "error", "-show_entries", "stream=bit_rate", "-of", "csv=p=0", path)
			agree(t, "bit rate", float64(r.BitRate), number(t, regexp.MustCompile(`\d+`).FindString(harness.LastLine(probe))))
		})
	}
}

// agree checks that two values differ by at most 1 %.
func agree(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.01*math.Abs(want) {
		t.Errorf("%s is %v; of sox or ffprobe %v", what, got, want)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stat returns the first value of a line of `sox FILE -n stats`.
func stat(t *testing.T, stats, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(fmt.Sprintf(`(?m)^%s\s+(\S+)`, name)).FindStringSubmatch(stats)
	if m == nil {
		t.Fatalf("no %q in\n%s", name, stats)
	}
	return number(t, m[1])
}

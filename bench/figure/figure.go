// Package figure holds the results of a benchmark: the values of one plot, with
// the machine, the time, the load average and the command that measured them.
package figure

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Figure is one plot: bars, a value for each series, or lines, values over X.
type Figure struct {
	Title   string `json:"title"`
	Command string `json:"command"` // command that measures the values again
	X       string `json:"x"`       // unit of the X axis; empty for a bar chart
	Y       string `json:"y"`       // quantity and unit of the values
	Log     bool   `json:"log"`     // whether the Y axis is logarithmic

	Taken   time.Time `json:"taken"`   // time of the measurement
	Machine string    `json:"machine"` // CPUs, kernel and Go version
	Load    string    `json:"load"`    // load averages over 1, 5 and 15 minutes at the start of the run

	Series []Series `json:"series"`
	Notes  []string `json:"notes,omitempty"` // results of the same run that are in no series
}

// Series holds the values of one of the programs that are compared.
type Series struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point is a value. X of a bar is 0. Low and High are the lowest and the highest value of several
// rounds, of which Y is the median; they are 0 if they are not known.
type Point struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
}

// Add adds a value to a series, and the series if the figure does not have it yet.
func (f *Figure) Add(series string, x, y float64) { f.add(series, Point{X: x, Y: y}) }

// AddRounds adds the median of the values of several rounds, with the lowest and the highest one.
func (f *Figure) AddRounds(series string, x float64, rounds []float64) {
	rounds = slices.Sorted(slices.Values(rounds))
	f.add(series, Point{x, rounds[len(rounds)/2], rounds[0], rounds[len(rounds)-1]})
}

// Note adds a sentence to the notes, and writes it to w.
func (f *Figure) Note(w io.Writer, format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
	fmt.Fprintln(w, f.Notes[len(f.Notes)-1])
}

// Micros returns durations in microseconds.
func Micros(all []time.Duration) (values []float64) {
	for _, d := range all {
		values = append(values, float64(d)/float64(time.Microsecond))
	}
	return values
}

func (f *Figure) add(series string, p Point) {
	for i := range f.Series {
		if f.Series[i].Name == series {
			f.Series[i].Points = append(f.Series[i].Points, p)
			return
		}
	}
	f.Series = append(f.Series, Series{series, []Point{p}})
}

// machine describes the machine in one line: CPUs, kernel and Go version.
func machine() string {
	model := "unknown CPU"
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
		_ = file.Close() // was read only
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte("unknown")
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-") // the rest is the distribution's
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, version, runtime.Version())
}

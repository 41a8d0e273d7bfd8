// Package figure is what a benchmark writes down: the values of one plot, with
// the machine, the day and the command that made them.
package figure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Figure is one plot: bars, a value for each series, or lines, values over X.
type Figure struct {
	Title   string `json:"title"`
	Command string `json:"command"` // that measures it again
	X       string `json:"x"`       // what the values stand over; empty: bars
	Y       string `json:"y"`       // what they are, with their unit
	Log     bool   `json:"log"`     // the Y axis is logarithmic

	Taken   time.Time `json:"taken"`
	Machine string    `json:"machine"`
	Load    string    `json:"load"` // /proc/loadavg before the first value was measured

	Series []Series `json:"series"`
}

// Series are the values of one of the programs that are compared.
type Series struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point is a value. X of a bar is 0.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Begin notes when and where what follows is measured, and how busy the machine
// is before.
func Begin(title, command string) *Figure {
	return &Figure{Title: title, Command: command, Taken: time.Now().UTC().Truncate(time.Second), Machine: machine(), Load: load()}
}

// Add adds a value to a series, which it begins if need be.
func (f *Figure) Add(series string, x, y float64) {
	for i := range f.Series {
		if f.Series[i].Name == series {
			f.Series[i].Points = append(f.Series[i].Points, Point{x, y})
			return
		}
	}
	f.Series = append(f.Series, Series{series, []Point{{x, y}}})
}

// Write writes the figure to DIR/NAME.json; an empty dir is for benchmarks whose
// values nobody wants to keep.
func (f *Figure) Write(dir, name string) error {
	if dir == "" {
		return nil
	}
	for _, s := range f.Series {
		for _, p := range s.Points {
			if math.IsNaN(p.Y) || p.Y <= 0 {
				return fmt.Errorf("figure %s: %s is %v at %v, which nothing that was measured is", name, s.Name, p.Y, p.X)
			}
		}
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644)
}

// load is the first line of /proc/loadavg (proc_loadavg(5)), without the last PID.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// machine says in a line what the values were measured on.
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

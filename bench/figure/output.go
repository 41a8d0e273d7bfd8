package figure

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MaxLoad is the highest load average over one minute at which a run that writes figures may
// start. The benchmarks use every CPU of the machine, so other work changes the results.
const MaxLoad = 1.5

// ErrBusy is returned by Check when the load average is above MaxLoad.
var ErrBusy = errors.New("the machine is busy")

// Output is the folder for the figures of one run, and the conditions at the start of the
// run.
type Output struct {
	Dir     string // folder of the figures; empty: figures are only printed
	Load    string // load averages over 1, 5 and 15 minutes at the start of the run
	AnyLoad bool   // whether figures are written at any load average
}

// Flags defines the flags -out, -load and -any-load.
func (o *Output) Flags(set *flag.FlagSet) {
	set.StringVar(&o.Dir, "out", "", "`folder` that figures are written to (default: they are only printed)")
	set.StringVar(&o.Load, "load", "", "load `averages` at the start of the run, as in /proc/loadavg, for a script that starts several runs (default: read from there)")
	set.BoolVar(&o.AnyLoad, "any-load", false, fmt.Sprintf("write figures even if the load average at the start is above %v", MaxLoad))
}

// Check reads the load average unless Load is set. It returns ErrBusy if figures
// are to be written and the load average over one minute is above MaxLoad. A
// benchmark calls it before it measures anything.
func (o *Output) Check() error {
	if o.Load == "" {
		o.Load = load()
	}
	if o.Dir == "" || o.AnyLoad {
		return nil
	}
	first, _, _ := strings.Cut(o.Load, " ")
	minute, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return fmt.Errorf("load average %q is not a number: set -any-load to write figures without it", first)
	}
	if minute > MaxLoad {
		return fmt.Errorf("%w: load average %v is above %v: wait until it is lower, or set -any-load (with make: BENCH_FLAGS=-any-load)", ErrBusy, minute, MaxLoad)
	}
	return nil
}

// Begin returns a figure without values that names the machine, the time and the
// load average at the start of the run.
func (o *Output) Begin(title, command string) *Figure {
	return &Figure{Title: title, Command: command, Taken: time.Now().UTC().Truncate(time.Second), Machine: machine(), Load: o.Load}
}

// Write writes a figure to NAME.json in the folder of the run, or nowhere if
// there is none. It returns an error if a value is not above zero.
func (o *Output) Write(f *Figure, name string) error {
	if o.Dir == "" {
		return nil
	}
	for _, s := range f.Series {
		for _, p := range s.Points {
			if math.IsNaN(p.Y) || p.Y <= 0 {
				return fmt.Errorf("figure %s: value of %s at %v is %v, want more than zero", name, s.Name, p.X, p.Y)
			}
		}
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, name+".json"), append(text, '\n'), 0o644)
}

// load returns the load averages over 1, 5 and 15 minutes from /proc/loadavg
// (proc_loadavg(5)), or "unknown".
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

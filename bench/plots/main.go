// Command plots draws the figures of the benchmarks: NAME.svg for each NAME.json in a
// folder, and README.md with tables of the values.
//
//	cd bench/plots && go run . FOLDER
//
// It is another module, so that the server does not depend on the plot library.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// figure is a figure that package bench/figure has written.
type figure struct {
	Title, Command, X, Y string
	Log                  bool
	Taken                time.Time
	Machine, Load        string
	Series               []series
	Notes                []string // sentences below the table

	name string // file name without .json
}

type series struct {
	Name   string
	Points []point
}

// point is a value, with the lowest and the highest one of several rounds, which are 0 if they
// are not known.
type point struct{ X, Y, Low, High float64 }

func main() {
	err := errors.New("usage: plots FOLDER")
	if len(os.Args) == 2 {
		err = run(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	all, err := read(dir)
	if err != nil {
		return err
	}
	for _, f := range all {
		svg, err := f.draw()
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name+".svg"), svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(tables(all)), 0o644)
}

// read returns the figures of a folder, sorted by name.
func read(dir string) (all []figure, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		f := figure{name: strings.TrimSuffix(filepath.Base(path), ".json")}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no figures in %s: run make bench", dir)
	}
	return all, nil
}

// check returns an error for a figure that cannot be drawn.
func (f figure) check() error {
	if f.Title == "" || f.Y == "" || len(f.Series) == 0 {
		return errors.New("title, y or series is missing")
	}
	for _, s := range f.Series {
		if len(s.Points) == 0 || f.X == "" && len(s.Points) != 1 {
			return fmt.Errorf("%q has %d values", s.Name, len(s.Points))
		}
		for _, p := range s.Points {
			if p.Y <= 0 || f.X != "" && p.X <= 0 {
				return fmt.Errorf("%q has the value %v at %v: must be more than zero", s.Name, p.Y, p.X)
			}
		}
	}
	return nil
}

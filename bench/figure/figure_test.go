package figure

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	out := Output{Dir: filepath.Join(t.TempDir(), "new"), Load: "0.25 1.75 3.00"}
	if err := out.Check(); err != nil {
		t.Fatal(err)
	}
	f := out.Begin("title", "go run ./bench/x")
	f.X, f.Y = "connections", "µs"
	f.Add("gale", 1, 2)
	f.Add("tornado", 1, 20)
	f.AddRounds("gale", 10, []float64{4, 2, 3})
	var printed strings.Builder
	f.Note(&printed, "%d clients", 3)
	if err := out.Write(f, "some"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out.Dir, "some.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Figure
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Series) != 2 || len(got.Series[0].Points) != 2 || got.Series[0].Points[1] != (Point{10, 3, 2, 4}) || !got.Taken.Equal(f.Taken) {
		t.Errorf("%s", text)
	}
	if printed.String() != "3 clients\n" || len(got.Notes) != 1 || got.Notes[0] != "3 clients" {
		t.Errorf("printed %q, notes %q", printed.String(), got.Notes)
	}
	if !strings.Contains(got.Machine, "Linux ") || !strings.Contains(got.Machine, runtime.Version()) || got.Load != out.Load {
		t.Errorf("machine %q, load %q", got.Machine, got.Load)
	}
	f.Add("gale", 100, 0)
	if err := out.Write(f, "zero"); err == nil {
		t.Error("Write accepts a value of zero")
	}
	if err := new(Output).Write(f, "none"); err != nil {
		t.Errorf("Write without a folder: %v", err)
	}
}

// A run on a busy machine ends before it measures, unless it keeps no figures.
func TestCheckLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	for _, row := range []struct {
		args string
		busy bool
	}{
		{"-out DIR -load 1.51,0.10,0.10", true},
		{"-out DIR -load 12.00,0.10,0.10", true},
		{"-out DIR -load 1.50,9.00,9.00", false},
		{"-out DIR -load 1.51,0.10,0.10 -any-load", false},
		{"-load 1.51,0.10,0.10", false},
	} {
		var out Output
		set := flag.NewFlagSet("bench", flag.ContinueOnError)
		out.Flags(set)
		args := strings.Fields(row.args)
		for i, arg := range args {
			args[i] = strings.ReplaceAll(strings.ReplaceAll(arg, "DIR", dir), ",", " ")
		}
		if err := set.Parse(args); err != nil {
			t.Fatal(err)
		}
		err := out.Check()
		if errors.Is(err, ErrBusy) != row.busy || (err != nil) != row.busy {
			t.Errorf("%s: %v", row.args, err)
		}
		if row.busy && !strings.Contains(err.Error(), "-any-load") {
			t.Errorf("%s: %v names no way out", row.args, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check has made the folder: %v", err)
	}
}

func TestCheckReadsLoad(t *testing.T) {
	var out Output
	if err := out.Check(); err != nil || len(strings.Fields(out.Load)) != 3 {
		t.Errorf("load %q, %v", out.Load, err)
	}
	unknown := Output{Dir: t.TempDir(), Load: "unknown"}
	if err := unknown.Check(); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("a load average that is not a number: %v", err)
	}
}

package figure

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	f := Begin("title", "go run ./bench/x")
	f.X, f.Y = "connections", "µs"
	f.Add("gale", 1, 2)
	f.Add("tornado", 1, 20)
	f.Add("gale", 10, 3)
	dir := filepath.Join(t.TempDir(), "new")
	if err := f.Write(dir, "some"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "some.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Figure
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Series) != 2 || len(got.Series[0].Points) != 2 || got.Series[0].Points[1] != (Point{10, 3}) || !got.Taken.Equal(f.Taken) {
		t.Errorf("%s", text)
	}
	if !strings.Contains(got.Machine, "Linux ") || len(strings.Fields(got.Load)) != 3 {
		t.Errorf("machine %q, load %q", got.Machine, got.Load)
	}
	if err := f.Write("", "some"); err != nil {
		t.Errorf("nothing to keep: %v", err)
	}
	f.Add("gale", 100, 0)
	if err := f.Write(dir, "broken"); err == nil {
		t.Error("a value that cannot have been measured is written")
	}
}

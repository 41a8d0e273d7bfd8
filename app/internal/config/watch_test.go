package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("watch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(command Command, args ...string) (Config, error) {
		return Load(command, &Program{}, append(args, "-config", conf, "-data", dir), nil)
	}
	c, err := load(Serve, "-templates", dir)
	if err != nil || !c.Watch || c.Watched == "" || c.ConfigFile != conf {
		t.Fatalf("%+v %v", c, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "page.html"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := load(Serve, "-templates", dir); err != nil || again.Watched == c.Watched {
		t.Errorf("the configuration does not change with the templates: %v", err)
	}
	if _, err := load(Serve, "-single"); err == nil || !strings.Contains(err.Error(), "-watch: cannot be used with -single") {
		t.Errorf("with -single: %v", err)
	}
	if _, err := load(Worker); err == nil || !strings.Contains(err.Error(), "-watch: cannot be used with worker") {
		t.Errorf("worker: %v", err)
	}
	if c, err := load(Serve, "-watch=false", "-templates", dir); err != nil || c.Watched != "" {
		t.Errorf("without -watch: %q %v", c.Watched, err)
	}
}

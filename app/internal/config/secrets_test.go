package config

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The secrets of a configuration are known also if it has faults.
func TestSecretsOnDisk(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := file("conf", "port nonsense\nredis redis://:in-redis@h:1/0\ncookie-key-file "+file("keys", "in-key-1\nin-key-2\n")+
		"\ntasks "+file("tasks.toml", "[tasks.x]\nargv = [\"/bin/true\"]\nenv = [\"API_KEY=in-task\", \"MODE=harmless\"]\n"))
	program := &Program{Name: "shop", Flags: func(s *flag.FlagSet) {
		s.String("stripe-secret", "", "")
		s.String("mode", "", "")
		s.Int("max-secret-age", 0, "")
	}}
	args := []string{"-config", conf, "-token-file", file("token", "in-token\n"), "-stripe-secret", "in-own", "-mode", "harmless", "-max-secret-age", "12345678", "-unknown"}
	got := SecretsOnDisk(Serve, program, args, []string{"GALE_CELERY=redis://user:in%40env@h:1/0"})
	for _, want := range []string{"in-token", "in-redis", "in-key-1", "in-key-2", "in-task", "in-own", "in%40env", "in@env"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not in %q", want, got)
		}
	}
	for _, harmless := range []string{"harmless", "12345678", "user"} {
		if slices.Contains(got, harmless) {
			t.Errorf("%s is in %q", harmless, got)
		}
	}
}

func TestShownVariables(t *testing.T) {
	for name, want := range map[string]bool{"GALE_PORT": true, "GOMAXPROCS": true, "GALE_STORE_SLOT": false, "GALE_UNKNOWN": false, "SHOP_KEY": false, "AWS_REGION": false} {
		if got := ShownVariable(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

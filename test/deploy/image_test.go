package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// container is a server with the arguments and variables of a deployment file.
type container struct {
	name string
	args []string
	env  map[string]string
}

// mounted are the paths in containers that deployment files mount. load replaces them
// by folders and files of the test.
const (
	mountedData  = "/var/lib/gale"
	mountedToken = "/etc/gale/token"
)

// settings are the values of the flags of a server, by flag.
type settings map[string]string

// documentedDefaults returns the defaults of all flags, from the page that is generated
// from the flags.
func documentedDefaults(t *testing.T) settings {
	t.Helper()
	page, err := os.ReadFile("docs/reference/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `-([a-z-]+)[^`]*` \\| `(GALE_[A-Z_]+)` \\| (?:`([^`]*)`)? *\\|")
	all := settings{}
	for _, cells := range row.FindAllStringSubmatch(string(page), -1) {
		if want := "GALE_" + strings.ToUpper(strings.ReplaceAll(cells[1], "-", "_")); cells[2] != want {
			t.Fatalf("-%s is set by %s", cells[1], cells[2])
		}
		all[cells[1]] = cells[3]
	}
	if len(all) < 50 {
		t.Fatalf("docs/reference/configuration.md names only %d flags", len(all))
	}
	return all
}

// load returns a container's settings as the server in it would, and checks them with
// the binary: each flag and each variable must exist.
func (c container) load(t *testing.T) settings {
	t.Helper()
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := strings.NewReplacer(mountedData, filepath.Join(here, "data"), mountedToken, filepath.Join(here, "token"))
	verb, args := c.args[0], slices.Clone(c.args[1:])
	all := documentedDefaults(t)
	var environ []string
	for name, value := range c.env {
		value = place.Replace(value)
		environ = append(environ, name+"="+value)
		if flag, ours := strings.CutPrefix(name, "GALE_"); ours {
			all.set(t, c.name, strings.ToLower(strings.ReplaceAll(flag, "_", "-")), value)
		}
	}
	for i := range args {
		args[i] = place.Replace(args[i])
	}
	for i := 0; i < len(args); i++ {
		flag, value, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !joined {
			i++
			value = args[i]
		}
		all.set(t, c.name, flag, value)
	}
	if verb == "serve" {
		check := exec.Command(harness.Binary(), append([]string{"check"}, args...)...)
		check.Env, check.Dir = environ, here
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: server check: %v\n%s", c.name, err, out)
		}
	}
	if all["data"] != filepath.Join(here, "data") {
		t.Errorf("%s: its data folder %s is not in the volume", c.name, all["data"])
	}
	if all["redis"] == "" {
		t.Errorf("%s shares no state with the others", c.name)
	}
	return all
}

// set sets an existing flag.
func (s settings) set(t *testing.T, container, flag, value string) {
	t.Helper()
	if _, known := s[flag]; !known {
		t.Errorf("%s: there is no flag -%s", container, flag)
	}
	s[flag] = value
}

// outlasts checks that the time between TERM and KILL to a container is enough for the
// grace period of its children and the time that the master adds.
func (c container) outlasts(t *testing.T, patience time.Duration, all settings) {
	t.Helper()
	const lastWords = 2 * time.Second // until a child has printed its goroutines
	grace, err := time.ParseDuration(all["grace"])
	if err != nil || patience <= grace+lastWords {
		t.Errorf("%s is killed after %v, but its children may take %v and %v more: %v", c.name, patience, grace, lastWords, err)
	}
}

// image holds the settings in the last stage of the Dockerfile.
type image struct {
	instructions [][2]string
	env          map[string]string
}

func readImage(t *testing.T) (i image) {
	t.Helper()
	text, err := os.ReadFile("deploy/docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	i.env = map[string]string{}
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#":
			continue
		case "FROM":
			i.instructions = nil
		case "ENV":
			for pair := range strings.FieldsSeq(rest) {
				name, value, _ := strings.Cut(pair, "=")
				i.env[name] = value
			}
		}
		i.instructions = append(i.instructions, [2]string{word, rest})
	}
	return i
}

// one returns the value of the only instruction of that name.
func (i image) one(t *testing.T, word string) string {
	t.Helper()
	var found []string
	for _, in := range i.instructions {
		if in[0] == word {
			found = append(found, in[1])
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d instructions %s", len(found), word)
	}
	return found[0]
}

// with returns the image's variables and further ones.
func (i image) with(more map[string]string) map[string]string {
	all := maps.Clone(i.env)
	maps.Copy(all, more)
	return all
}

// The ports, paths, variables and signals in the Dockerfile are those of the binary, and
// its health check succeeds only while the server runs.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	i := readImage(t)
	all := container{"image", []string{"serve"}, i.with(map[string]string{"GALE_TOKEN": "secret", "GALE_REDIS": "redis://redis"})}.load(t)
	if port := i.one(t, "EXPOSE"); port != all["port"] || all["host"] != "0.0.0.0" {
		t.Errorf("EXPOSE %s, but the server listens on %s:%s", port, all["host"], all["port"])
	}
	for word, want := range map[string]string{
		"FROM": "scratch", "USER": "65532:65532", "WORKDIR": mountedData, "VOLUME": mountedData, "STOPSIGNAL": "SIGTERM", "ENTRYPOINT": `["/server"]`,
	} {
		if got := i.one(t, word); got != want {
			t.Errorf("%s %s, want %s", word, got, want)
		}
	}
	if !slices.Contains(i.instructions, [2]string{"COPY", "--from=build /out/server /server"}) {
		t.Error("nothing is copied to the path in ENTRYPOINT")
	}
	_, check, _ := strings.Cut(i.one(t, "HEALTHCHECK"), " CMD ")
	var command []string
	if err := json.Unmarshal([]byte(check), &command); err != nil || command[0] != "/server" {
		t.Fatalf("HEALTHCHECK … CMD %s: %v", check, err)
	}
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	healthy := func() error {
		cmd := exec.Command(harness.Binary(), command[1:]...)
		cmd.Env = []string{"GALE_ADMIN=" + g.Admin}
		return cmd.Run()
	}
	if err := healthy(); err != nil {
		t.Errorf("the health check of a running server: %v", err)
	}
	g.Kill()
	if healthy() == nil {
		t.Error("the health check succeeds after the server has ended")
	}
}

package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// composeFile is the part of a compose file that the test checks.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Build       struct{ Context, Dockerfile string }
		Command     []string
		Environment map[string]string
		Volumes     []string
		Ports       []string
		Expose      []string
		Networks    []string
		Patience    time.Duration                         `yaml:"stop_grace_period"`
		ReadOnly    bool                                  `yaml:"read_only"`
		Depends     map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet string }
		}
	}
	Volumes map[string]any
}

// compose.yaml agrees with the image and with the flags of the binary, and its services
// use the right ports, networks and addresses of each other.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	const folder = "deploy/docker"
	text, err := os.ReadFile(filepath.Join(folder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var f composeFile
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	i := readImage(t)
	roles := map[string]string{"app": "serve", "worker": "worker"}
	for name, s := range f.Services {
		if s.Build.Dockerfile == "" {
			continue
		}
		if s.Command[0] != roles[name] {
			t.Errorf("%s: command %q", name, s.Command)
		}
		if _, err := os.Stat(filepath.Join(folder, s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
		c := container{name, s.Command, i.with(s.Environment)}
		c.env["GALE_TOKEN"], _, _ = strings.Cut(c.env["GALE_TOKEN"], ":") // ${GALE_TOKEN:?…}
		c.env["GALE_TOKEN"] = strings.Trim(c.env["GALE_TOKEN"], "${")
		all := c.load(t)
		c.outlasts(t, s.Patience, all)
		if subnet := f.Networks["front"].IPAM.Config[0].Subnet; all["trusted-proxies"] != subnet {
			t.Errorf("%s trusts %s, but the proxy is in %s", name, all["trusted-proxies"], subnet)
		}
		if !slices.Contains(s.Volumes, "data:"+mountedData) || !s.ReadOnly {
			t.Errorf("%s: volumes %q, read-only %v", name, s.Volumes, s.ReadOnly)
		}
		if host := strings.TrimPrefix(all["redis"], "redis://"); host != "redis:6379" || !slices.Contains(s.Networks, "back") {
			t.Errorf("%s connects to Redis at %s", name, host)
		}
		if s.Depends["redis"].Condition != "service_healthy" {
			t.Errorf("%s does not depend on Redis", name)
		}
		if name == "app" && !slices.Equal(s.Expose, []string{all["port"]}) {
			t.Errorf("%s exposes %q and listens on %s", name, s.Expose, all["port"])
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s: two containers cannot publish the same port %q", name, s.Ports)
		}
		delete(roles, name)
	}
	if len(roles) > 0 {
		t.Errorf("no service for %v", roles)
	}
	redis := strings.Join(f.Services["redis"].Command, " ")
	for _, want := range []string{"--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"} {
		if !strings.Contains(redis, want) {
			t.Errorf("redis runs as %q, without %s", redis, want)
		}
	}
	conf, err := os.ReadFile(filepath.Join(folder, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := f.Services["proxy"]
	if !slices.Contains(proxy.Volumes, "./nginx.conf:/etc/nginx/nginx.conf:ro") || !slices.Equal(proxy.Ports, []string{"8080:80"}) {
		t.Errorf("proxy: %+v", proxy)
	}
	for _, want := range []string{`\n\t\tlisten 80;`, `set \$app app;`, `proxy_pass http://\$app:8888;`} {
		if !regexp.MustCompile(want).Match(conf) {
			t.Errorf("nginx.conf has no %s", want)
		}
	}
}

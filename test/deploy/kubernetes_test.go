package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/galeserver/gale/test/harness"
)

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// manifest is the part of a Kubernetes object that the test checks.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Selector any
		Ports    []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
	}
}

type podSpec struct {
	ServiceLinks *bool `yaml:"enableServiceLinks"`
	Patience     int   `yaml:"terminationGracePeriodSeconds"`
	Security     struct {
		NonRoot bool `yaml:"runAsNonRoot"`
		RunAs   int  `yaml:"runAsUser"`
	} `yaml:"securityContext"`
	Containers []struct {
		Image string
		Args  []string
		Env   []struct{ Name, Value string }
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Startup   *probe `yaml:"startupProbe"`
		Readiness *probe `yaml:"readinessProbe"`
		Liveness  *probe `yaml:"livenessProbe"`
		Lifecycle struct {
			PreStop struct {
				Sleep struct{ Seconds int }
			} `yaml:"preStop"`
		}
		Security struct {
			ReadOnly bool `yaml:"readOnlyRootFilesystem"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
}

func readManifests(t *testing.T, path string) (all []manifest) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var m manifest
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// The Kubernetes example agrees with the image and the binary: flags, ports, paths,
// probes, and the time to drain.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	i := readImage(t)
	verbs := []string{}
	for _, m := range readManifests(t, filepath.Join("deploy", "kubernetes", "gale.yaml")) {
		switch m.Kind {
		case "Deployment":
			verbs = append(verbs, checkDeployment(t, g, i, m))
		case "Service":
			if len(m.Spec.Ports) != 1 || m.Spec.Ports[0].TargetPort != "http" {
				t.Errorf("%+v", m)
			}
		}
	}
	if slices.Sort(verbs); !slices.Equal(verbs, []string{"serve", "worker"}) {
		t.Errorf("deployments of %q", verbs)
	}
}

func checkDeployment(t *testing.T, g *harness.Server, i image, m manifest) (verb string) {
	t.Helper()
	pod, name := m.Spec.Template.Spec, m.Metadata.Name
	if pod.ServiceLinks == nil || *pod.ServiceLinks {
		t.Errorf("%s: a service called gale sets GALE_PORT", name)
	}
	if !strings.HasPrefix(i.one(t, "USER"), "65532:") || pod.Security.RunAs != 65532 || !pod.Security.NonRoot {
		t.Errorf("%s runs as another user than the image's: %+v", name, pod.Security)
	}
	if len(pod.Containers) != 1 {
		t.Fatalf("%s: %d containers", name, len(pod.Containers))
	}
	c := pod.Containers[0]
	env := map[string]string{}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	as := container{name, c.Args, i.with(env)}
	all := as.load(t)
	sleep := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	as.outlasts(t, time.Duration(pod.Patience)*time.Second-sleep, all)
	serves := c.Args[0] == "serve"
	if serves && sleep <= 0 {
		t.Errorf("%s does not wait for load balancers before it drains", name)
	}
	ports := map[string]int{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	if serves && strconv.Itoa(ports["http"]) != all["port"] {
		t.Errorf("%s listens on %s, not %d", name, all["port"], ports["http"])
	}
	for what, p := range map[string]*probe{"startup": c.Startup, "readiness": c.Readiness, "liveness": c.Liveness} {
		if p == nil && (serves || what != "readiness") {
			t.Errorf("%s: no %s probe", name, what)
		}
		if p == nil {
			continue
		}
		if port := ports[p.HTTPGet.Port]; ":"+strconv.Itoa(port) != all["admin"] {
			t.Errorf("%s: the %s probe uses port %d, but the admin endpoint is at %s", name, what, port, all["admin"])
		}
		if code, body, err := harness.Get("http://" + g.Admin + p.HTTPGet.Path); err != nil || code != http.StatusOK {
			t.Errorf("%s: the %s probe of a live server: %d %s, %v", name, what, code, body, err)
		}
	}
	mounted := []string{}
	for _, v := range c.Mounts {
		mounted = append(mounted, v.Path)
	}
	if !c.Security.ReadOnly || !slices.Contains(mounted, mountedData) || serves && !slices.Contains(mounted, filepath.Dir(mountedToken)) {
		t.Errorf("%s: mounts %q, read-only %v", name, mounted, c.Security.ReadOnly)
	}
	return c.Args[0]
}

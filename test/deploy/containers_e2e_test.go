//go:build e2e

package deploy_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EImage builds the Dockerfile with buildah, with this machine's Go instead of
// the image golang. It runs the result like a container, by the settings of the image.
func TestE2EImage(t *testing.T) {
	checkout, _ := snapshot(t)
	store := t.TempDir()
	buildah := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("buildah", append([]string{"--root", filepath.Join(store, "root"), "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}, args...)...)
		cmd.Dir = checkout
		var setting strings.Builder
		cmd.Stderr = &setting
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("buildah %q: %v\n%s%s", args, err, out, setting.String())
		}
		return strings.TrimSpace(string(out))
	}
	goEnv := func(name string) string { return strings.TrimSpace(harness.Run(t, "go", "env", name)) }

	harness.Run(t, "go", "mod", "download") // the build has no network and uses this module cache

	base := buildah("from", "scratch")
	buildah("config", "--env", "PATH="+goEnv("GOROOT")+"/bin:/usr/bin:/bin", "--env", "HOME=/root", "--env", "GOPROXY=off", "--env", "GOTOOLCHAIN=local",
		"--env", "GOMODCACHE=/cache/mod", "--env", "GOCACHE=/cache/build", base)
	buildah("copy", base, "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt")
	buildah("copy", base, "go.mod", "/tmp/") // go build needs the folder
	buildah("commit", "--quiet", base, "go-of-this-machine")
	build := []string{"build", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never", "--from", "go-of-this-machine", "--build-arg", "TARGETARCH=" + goEnv("GOARCH")}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64", goEnv("GOROOT")} {
		if _, err := os.Stat(dir); err == nil {
			build = append(build, "-v", dir+":"+dir+":ro")
		}
	}
	buildah(append(build, "-v", goEnv("GOMODCACHE")+":/cache/mod", "-v", goEnv("GOCACHE")+":/cache/build", "-t", "gale", "-f", "deploy/docker/Dockerfile", ".")...)

	container := buildah("from", "--pull-never", "gale")
	setting := func(format string) string { return buildah("inspect", "--format", "{{"+format+"}}", container) }
	if got := setting(".Docker.Config.Healthcheck.Test") + setting(".Docker.Config.StopSignal"); got != "[CMD /server status -ready]SIGTERM" {
		t.Errorf("health check and signal: %s", got)
	}
	root := t.TempDir()
	harness.Run(t, "cp", "-a", buildah("mount", container)+"/.", root)
	harness.Run(t, "chmod", "a+rx", filepath.Dir(root), root)
	checkFiles(t, root)
	for _, dir := range []string{"proc", "dev"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	harness.Run(t, "touch", filepath.Join(root, "dev/null"))

	environ := strings.Fields(strings.Trim(setting(".OCIv1.Config.Env"), "[]"))
	refused := inRoot(root, mountedData, true, "check")
	refused.Env = environ
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "set -token-file, or -open") {
		t.Errorf("a container without a token: %v: %s", err, out)
	}
	cmd := inRoot(root, mountedData, true, harness.OnFreePorts([]string{"serve"})...)
	cmd.Env = append(environ, "GALE_TOKEN=secret")
	g, err := harness.LaunchAs(cmd)
	g = harness.MustStart(t, g, err)
	if code, body, err := harness.Get(strings.Replace(g.URL, "0.0.0.0", "127.0.0.1", 1) + "/"); err != nil || code != 200 {
		t.Errorf("%d %s, %v", code, body, err)
	}
	if version := harness.Run(t, filepath.Join(root, "server"), "version"); !strings.HasPrefix(version, "gale v") {
		t.Errorf("%q", version)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// checkFiles checks that an image contains the needed files and no others.
func checkFiles(t *testing.T, root string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/server"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("files %q, %v; want %q", files, err, want)
	}
	info, err := os.Stat(filepath.Join(root, mountedData))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != nobodyID || owner.Gid != nobodyID {
		t.Errorf("%s belongs to %d:%d", mountedData, owner.Uid, owner.Gid)
	}
}

// TestE2ECompose checks that docker-compose accepts compose.yaml, and refuses it without
// a token.
func TestE2ECompose(t *testing.T) {
	compose := func(environ ...string) (string, error) {
		cmd := exec.Command("docker-compose", "-f", "deploy/docker/compose.yaml", "config")
		cmd.Env = append(os.Environ(), environ...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := compose("GALE_TOKEN=of-the-test")
	if err != nil {
		t.Fatalf("docker-compose config: %v\n%s", err, out)
	}
	if n := strings.Count(out, "GALE_TOKEN: of-the-test"); n != 2 {
		t.Errorf("%d services have the token:\n%s", n, out)
	}
	if out, err := compose(fmt.Sprintf("GALE_TOKEN=%s", "")); err == nil {
		t.Errorf("without a token: %s", out)
	}
}

//go:build e2e

package deploy_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// sandbox runs a script as root in new namespaces. Its mounts, its processes, its
// network and what it writes to the folders below end with it.
const sandbox = `set -eu -o pipefail
mount --make-rprivate /
ip link set lo up
mkdir -p "$SANDBOX/etc" "$SANDBOX/local/go" "$SANDBOX/local/bin"
cp -a /etc/. "$SANDBOX/etc"
rm -rf "$SANDBOX/etc/gale"
[ ! -d /usr/local/go ] || mount --bind /usr/local/go "$SANDBOX/local/go"
mount --rbind "$SANDBOX/local" /usr/local
mount --bind "$SANDBOX/etc" /etc
for dir in /var/lib /var/www /var/log /run; do mount -t tmpfs tmpfs $dir; done
mkdir -p data
mount -t tmpfs tmpfs data # where pages keep theirs
mkdir -p /var/log/nginx /var/lib/nginx /etc/prometheus
cp test/deploy/testdata/systemctl /usr/local/bin/
export PATH=/usr/local/bin:$PATH HOME=$SANDBOX
exec 2>&1
PS4='+ '
set -x
`

// TestE2EPages runs every command of the pages, from the first page to the last. A
// script that reads the installed units replaces systemctl.
func TestE2EPages(t *testing.T) {
	script := sandbox
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, n := commands(string(text), "sh")
		t.Logf("%s: %d commands", path, n)
		script += "# " + path + "\n" + all
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	file := filepath.Join(dir, "script")
	if err := os.WriteFile(file, []byte(script+"echo all done\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", file)
	cmd.Env = append(os.Environ(), "SANDBOX="+dir)
	cmd.WaitDelay = 10 * time.Second
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // HOME is different in the sandbox
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(harness.Run(t, "go", "env", name)))
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "all done\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

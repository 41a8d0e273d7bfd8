package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/debugbundle"
	"github.com/galeserver/gale/app/internal/logtail"
)

// maxLogLines is the number of log lines in a debug bundle.
const maxLogLines = 2000

// diagnostics serves the parts of a debug bundle at /debug/bundle/. All of its texts are
// without secrets.
type diagnostics struct {
	diagnosticsSource
	admin    *admin
	allow    func(*http.Request) (int, string)
	profiles *profiler
}

// diagnosticsSource is what a debug bundle contains besides what the admin endpoint has.
type diagnosticsSource struct {
	env      env
	command  config.Command
	settings func() config.Config // the configuration in effect
	tail     *logtail.Tail
}

// handleDiagnostics adds the routes for debug bundles. Who may control the server has access:
// unlike /debug/pprof/, they need no -pprof, because they serve only profiles that contain no
// data.
func (a *admin) handleDiagnostics(mux *http.ServeMux, c config.Config, o diagnosticsSource, log *slog.Logger) {
	d := &diagnostics{o, a, mayControl(c), newProfiler(a.master, c, log)}
	d.profiles.allow = d.allow
	mux.HandleFunc("GET /debug/bundle/{part}", d.part)
	mux.HandleFunc("GET /debug/bundle/profiles/{slot}/{profile}", d.profile)
}

// part handles a request for a text.
func (d *diagnostics) part(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, d.allow) {
		return
	}
	redact := d.redactor()
	var text string
	var err error
	switch name := r.PathValue("part"); name {
	case "status.json":
		text, err = d.status(r, redact)
	case "metrics.txt":
		if text, err = d.metrics(r.Context()); err == nil {
			text = redact.Text(text)
		}
	case "config.json":
		d.admin.log.Info("admin endpoint serves a debug bundle", "client", r.RemoteAddr)
		text, err = d.config(redact)
	case "check.txt":
		text = redact.Text(d.check())
	case "log.txt":
		text = redact.Text(strings.Join(append(d.tail.Lines(maxLogLines), ""), "\n"))
	case "system.txt":
		c := d.settings()
		text = redact.Text(debugbundle.System(c.Data, c.UploadDir, os.TempDir()))
	case "build.txt":
		text = redact.Text(d.build())
	default:
		reply(w, http.StatusNotFound, map[string]string{"reason": "a debug bundle has no part " + name})
		return
	}
	if err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": redact.Text(err.Error())})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text)
}

// profile handles a request for a profile: of goroutines, of the heap, or of the CPU.
func (d *diagnostics) profile(w http.ResponseWriter, r *http.Request) {
	if name := r.PathValue("profile"); !slices.Contains([]string{"goroutine", "heap", "profile"}, name) {
		reply(w, http.StatusNotFound, map[string]string{"reason": "a debug bundle has no profile " + name})
		return
	}
	d.profiles.ServeHTTP(w, r)
}

// redactor removes the secrets of the running configuration, of the one on disk, and of the
// environment.
func (d *diagnostics) redactor() *debugbundle.Redactor {
	secrets := append(d.settings().Secrets(), debugbundle.Secrets(d.env.environ)...)
	return debugbundle.NewRedactor(append(secrets, config.SecretsOnDisk(d.command, d.env.program.ReadOnly(), d.env.args, d.env.environ)...))
}

func (d *diagnostics) status(r *http.Request, redact *debugbundle.Redactor) (string, error) {
	s, err := d.admin.masterStatus(r)
	if err != nil {
		return "", errors.New("the master does not respond")
	}
	text, err := redact.JSON(d.admin.statusOf(s))
	return string(text) + "\n", err
}

func (d *diagnostics) metrics(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	families, err := d.admin.collector.Gather(ctx)
	if families == nil && err != nil {
		return "", err
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// config returns the configuration as it is in effect, the command line and the environment.
// Of the application's own flags, only numbers, durations and truth values are shown.
func (d *diagnostics) config(redact *debugbundle.Redactor) (string, error) {
	c := d.settings()
	c.Own = slices.Clone(c.Own)
	line := slices.Clone(d.env.command)
	for i, own := range c.Own {
		if own.Value == "" || config.PlainValue(own.Value) {
			continue
		}
		c.Own[i].Value = "[removed]"
		for at, arg := range line {
			if name, value, ok := strings.Cut(arg, "="); arg == own.Value {
				line[at] = "[removed]"
			} else if ok && value == own.Value {
				line[at] = name + "=[removed]"
			}
		}
	}
	text, err := redact.JSON(map[string]any{
		"configuration": c,
		"command_line":  line,
		"environment":   redact.Environ(d.env.environ, config.ShownVariable),
	})
	return string(text) + "\n", err
}

// check returns what the command "check" reports about flags and files as they are now. The
// routes are not built again.
func (d *diagnostics) check() string {
	c, err := config.Load(d.command, d.env.program.ReadOnly(), d.env.args, d.env.environ)
	if err != nil {
		return err.Error() + "\n"
	}
	var text strings.Builder
	text.WriteString("configuration is sound\n")
	for _, warning := range c.Warnings() {
		text.WriteString("warning: " + warning + "\n")
	}
	return text.String()
}

// build returns versions and the build information of the binary.
func (d *diagnostics) build() string {
	info, _ := debug.ReadBuildInfo() // nil in a binary without modules
	text := fmt.Sprintf("%s\n%s %s/%s, GOMAXPROCS %d of %d CPUs\n\n", d.admin.version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.NumCPU())
	if info != nil {
		text += info.String()
	}
	return text
}

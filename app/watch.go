package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/filewatch"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/server/realtime"
)

// watchServer returns a function that reloads the server when one of its files changes,
// until its context is done. Without -watch the function does nothing. Changes are
// collected from the call of watchServer on.
//
// The reload is that of SIGHUP. Changes during a reload are not lost: the new master
// watches before it compares the configuration, which contains a stamp of the templates,
// with the one that it was started with.
func watchServer(c config.Config, program string, log *slog.Logger) runFunc {
	if !c.Watch {
		return func(context.Context) error { return nil }
	}
	var targets []filewatch.Target
	for _, path := range []string{program, c.ConfigFile, c.TasksFile} {
		if path != "" {
			targets = append(targets, filewatch.Target{Path: path})
		}
	}
	if c.Templates != "" {
		targets = append(targets, filewatch.Target{Path: c.Templates, Tree: true})
	}
	return runWatcher(targets, log, func(path string) {
		log.Info("file changed, reloading", "file", path)
		if err := unix.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			log.Error("reload not requested, send SIGHUP", "error", err)
		}
	})
}

// watchStatic is like watchServer for a serving process. When a static file changes, no
// process is replaced: open pages reload themselves.
func watchStatic(c config.Config, reloads *routes.Reloads, log *slog.Logger) runFunc {
	if !c.Watch || c.Static == "" {
		return func(context.Context) error { return nil }
	}
	return runWatcher([]filewatch.Target{{Path: c.Static, Tree: true}}, log, reloads.StaticChanged)
}

// runWatcher watches targets. If that is not possible, it logs the reason, and the server
// runs without.
func runWatcher(targets []filewatch.Target, log *slog.Logger, changed func(path string)) runFunc {
	w, err := filewatch.New(targets, log)
	if err != nil {
		log.Error("files are not watched, send SIGHUP for a reload; the sysctl fs.inotify.max_user_instances may be too low", "error", err)
		return func(context.Context) error { return nil }
	}
	return func(ctx context.Context) error { return w.Run(ctx, changed) }
}

// newReloads returns what reloads open pages, or nil without -watch.
func (a *Application) newReloads(c config.Config, hub *realtime.Hub, log *slog.Logger) (*routes.Reloads, error) {
	if !c.Watch {
		return nil, nil
	}
	version, err := releaseVersion(c.Watched)
	if err != nil {
		return nil, err
	}
	return routes.NewReloads(hub, a.Platform.Prefix, version, time.Now(), c.Static, log), nil
}

// releaseVersion returns a text that is the same in all serving processes with the same
// binary and the same stamp of configuration and templates. Clients see it, so it is not
// made of the configuration itself, which has secrets.
func releaseVersion(stamp string) (string, error) {
	binary, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("read own binary: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d %d", stamp, binary.Size(), binary.ModTime().UnixNano())
	return hex.EncodeToString(sum.Sum(nil))[:20], nil
}

package app

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/galeserver/gale/app/internal/backup"
	"github.com/galeserver/gale/app/internal/config"
)

// backupCommand runs the command "backup". It reads the files itself, so it also works
// without a running server.
func backupCommand(ctx context.Context, e env) error {
	words, flags := splitAtFlag(e.args)
	c, err := config.LoadBackup(e.program, flags, e.environ)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return usageError(e.app.command() + " backup: invalid arguments: give the folder for the backup, which must not exist")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM) // removes what was copied
	defer stop()
	r, err := backup.Write(ctx, backup.Source{Data: c.Data, Uploads: c.UploadDir}, words[0])
	if err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	tasks := "the tasks"
	switch {
	case c.Broker != config.SQLite:
		tasks = "no tasks, which are in Redis"
	case !r.Tasks:
		tasks = "no tasks, because " + taskFile(c) + " does not exist"
	}
	if c.Files != "" {
		_, _ = fmt.Fprintln(e.stderr, "not in the backup: the uploads, which are in the object storage of -files")
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %d files, %d bytes, and %s\n", words[0], r.Files, r.Bytes, tasks)
	return err
}

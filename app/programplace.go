package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	ps "github.com/galeserver/gale/app/internal/process"
	"github.com/galeserver/gale/jobs/workerapi"
)

// programPlace is the folder of a running program. If this process is killed, the next one
// finds there what to end: the GALE_URL of the program's processes, and the program's
// sessions.
type programPlace struct {
	folder    ps.Folder
	socket    string        // path of the Unix socket
	outside   string        // folder of the socket if it is not folder; else empty
	announced chan struct{} // closed when the program has announced its tasks

	mu       sync.Mutex
	sessions []string
}

// newProgramPlace makes the folder of a program in -data, which only the user of this process
// can open. If the path of a socket in it would be too long, the socket is in a folder of its
// own among the temporary files.
func newProgramPlace(c config.Config, slot string) (p *programPlace, err error) {
	parent, err := programFolders(c)
	if err == nil {
		err = os.MkdirAll(parent, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("create folder of worker programs: %w", err)
	}
	p = &programPlace{announced: make(chan struct{})}
	if p.folder, err = ps.NewFolder(parent, programFolderPrefix+slot+"-"); err != nil {
		return nil, fmt.Errorf("create folder of the worker program: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove())
		}
	}()
	p.socket = filepath.Join(p.folder.Path, "socket")
	if len(p.socket) > maxSocketPath {
		if p.outside, err = os.MkdirTemp("", "gale-"); err != nil {
			return nil, fmt.Errorf("create folder for the socket of the worker program: %w", err)
		}
		p.socket = filepath.Join(p.outside, "socket")
	}
	if len(p.socket) > maxSocketPath {
		return nil, fmt.Errorf("path of the socket of the worker program: %s is longer than %d bytes: set a shorter -data or TMPDIR", p.socket, maxSocketPath)
	}
	if err := os.WriteFile(filepath.Join(p.folder.Path, programURLFile), []byte(p.url()), 0o600); err != nil {
		return nil, fmt.Errorf("record worker program: %w", err)
	}
	return p, nil
}

// url returns the GALE_URL of the program.
func (p *programPlace) url() string { return "unix:" + p.socket }

// remove removes the folder and the socket.
func (p *programPlace) remove() error {
	err := p.folder.Remove()
	if p.outside != "" {
		err = errors.Join(err, os.RemoveAll(p.outside))
	}
	return err
}

// announce records a session of the program, before the program learns of it.
func (p *programPlace) announce(session string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(p.folder.Path, programSessionsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(session + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("record session of the worker program: %w", err)
	}
	if len(p.sessions) == 0 {
		close(p.announced)
	}
	p.sessions = append(p.sessions, session)
	return nil
}

// sessionTimeout is the time for ending a session whose program has ended.
const sessionTimeout = 5 * time.Second

// endSessions ends the sessions of the program when it has ended, so that its tasks are due
// at once. They are counted as lost if the program has ended by itself, because a task may
// be the cause.
func (p *programPlace) endSessions(workers *workerapi.Service, lost bool, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	for _, id := range p.sessions {
		n, err := workers.End(ctx, id, lost)
		if err != nil {
			log.Warn("cannot requeue the tasks of the program; they are due when their leases expire", "session", id, "error", err)
		} else if n > 0 {
			log.Info("tasks of the program are due again", "tasks", n, "lost", lost)
		}
	}
}

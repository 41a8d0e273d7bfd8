package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/uploads"
)

// registry holds the tasks of the application and the commands.
func registry(own, commands []jobs.Definition) (*jobs.Registry, error) {
	return jobs.NewRegistry(slices.Concat(own, commands)...)
}

// uploadTasks are all that can be started for an uploaded file, sorted by name:
// those of the application, and commands that ask for it.
func uploadTasks(a Application, specs []command.Spec) (all []routes.UploadTask) {
	for _, t := range a.UploadTasks {
		all = append(all, routes.UploadTask{Name: t.Name, Accepts: t.Accepts})
	}
	if a.OnUpload != nil {
		all = append(all, routes.UploadTask{Name: OnUploadTask, Always: true, Details: true})
	}
	for name, accepts := range command.Uploads(specs) {
		all = append(all, routes.UploadTask{Name: name, Accepts: accepts, Always: true})
	}
	slices.SortFunc(all, func(a, b routes.UploadTask) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// commands are the tasks that -tasks names.
func commands(c config.Config, s *state) []jobs.Definition {
	return definitions(c.Commands, command.Env{Files: storedFiles{s.uploads, c.UploadDir}, Path: c.Path, Temp: s.temp})
}

func definitions(specs []command.Spec, env command.Env) []jobs.Definition {
	all := make([]jobs.Definition, len(specs))
	for i, spec := range specs {
		all[i] = command.Task(spec, env)
	}
	return all
}

// schedules are those of the application and of the tasks file.
func schedules(a Application, c config.Config) ([]schedule.Periodic, error) {
	own, err := a.periodic()
	if err != nil {
		return nil, err
	}
	commands, err := command.Schedules(c.Commands)
	if err != nil {
		return nil, err
	}
	return slices.Concat(own, commands), nil
}

// storedFiles gives commands the paths of what was uploaded.
type storedFiles struct {
	store *uploads.Store
	dir   string
}

// Path opens the file first: the store knows which names are files of its own.
func (s storedFiles) Path(directory, filename string) (string, error) {
	f, err := s.store.Open(directory, filename)
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("close file: %w", err)
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "", fmt.Errorf("find file: %w", err)
	}
	return filepath.Join(dir, filepath.FromSlash(directory), filename), nil
}

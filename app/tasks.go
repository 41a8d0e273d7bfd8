package app

import (
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// registry returns the registry of the application's tasks and the command tasks.
func registry(own, commands []jobs.Definition) (*jobs.Registry, error) {
	return jobs.NewRegistry(slices.Concat(own, commands)...)
}

// uploadTasks returns the tasks of the application and the command tasks that may be
// started for an uploaded file, sorted by name.
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

// commands returns the command tasks, which the tasks file defines.
func commands(c config.Config, s *state) []jobs.Definition {
	files := storedFiles{store: s.uploads}
	if s.bucket == nil {
		files.dir = c.UploadDir
	}
	return definitions(c.Commands, command.Env{Files: files, Remote: s.bucket != nil, Path: c.Path, Temp: s.temp})
}

func definitions(specs []command.Spec, env command.Env) []jobs.Definition {
	all := make([]jobs.Definition, len(specs))
	for i, spec := range specs {
		all[i] = command.Task(spec, env)
	}
	return all
}

// schedules returns the schedules of the application and of the tasks file.
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

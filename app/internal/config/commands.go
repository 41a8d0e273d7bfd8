package config

import (
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/command"
)

// loadTasksFile reads the file of -tasks and returns the names of its tasks and of the
// application's tasks.
func (f *flags) loadTasksFile(c *Config, environ, tasks []string) []string {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	c.Path = vars["PATH"]
	if c.TasksFile == "" {
		return tasks
	}
	file, faults := command.Load(c.TasksFile, func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	})
	c.Commands, c.Programs = file.Tasks, file.Workers
	for _, fault := range faults {
		f.fault("-tasks: %s: %s", c.TasksFile, fault)
	}
	all := slices.Clone(tasks)
	for _, s := range c.Commands {
		if slices.Contains(tasks, s.Name) {
			f.fault("-tasks: %s: tasks.%s: the application has a task with this name", c.TasksFile, s.Name)
		}
		all = append(all, s.Name)
	}
	return all
}

// checkPrograms checks what the worker programs of the tasks file need besides the file.
func (f *flags) checkPrograms(c *Config) {
	for _, p := range c.Programs {
		if p.Grace > c.Grace {
			f.fault("-tasks: %s: workers.%s: grace: %v is longer than -grace, %v", c.TasksFile, p.Name, p.Grace, c.Grace)
		}
		if len(p.Argv) == 0 || p.Argv[0] == "" {
			continue // a fault already
		}
		if err := p.Check(c.Path); err != nil {
			f.fault("-tasks: %s: workers.%s: %v", c.TasksFile, p.Name, err)
		}
	}
}

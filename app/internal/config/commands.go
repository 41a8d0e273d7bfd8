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
	var faults []string
	c.Commands, faults = command.Load(c.TasksFile, func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	})
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

package command

import (
	"cmp"
	"os"
	"path/filepath"

	ps "github.com/galeserver/gale/app/internal/process"
)

// folderPrefix is the prefix of the names of the folders in which commands run.
const folderPrefix = "gale-command-"

// folder is the folder of a running command.
type folder struct{ ps.Folder }

func newFolder(temp string) (folder, error) {
	f, err := ps.NewFolder(temp, folderPrefix)
	return folder{f}, err
}

func (f folder) artifacts() string { return artifactsOf(f.Path) }

// artifactsOf returns the value of ARTIFACTS of a command that runs in a folder.
func artifactsOf(path string) string { return filepath.Join(path, "artifacts") }

// Sweep kills the processes and removes the folders of commands whose worker was killed.
// The kernel ends a command with its worker, but not the processes that the command has
// started. Commands of running workers are not touched. temp is Env.Temp.
func Sweep(temp string) error {
	return ps.Sweep(cmp.Or(temp, os.TempDir()), folderPrefix, func(path string) error {
		return ps.KillAll("ARTIFACTS=" + artifactsOf(path))
	})
}

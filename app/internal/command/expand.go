package command

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// placeholder matches what may be a placeholder in an element of argv.
var placeholder = regexp.MustCompile(`\{[a-z0-9_]+\}`)

// fixedPlaceholders are the placeholders that exist in every task, besides numbers.
var fixedPlaceholders = []string{"{file}", "{directory}", "{filename}", "{id}"}

// isForFile reports whether the task is for an uploaded file. The first two arguments
// are then the file's directory and filename.
func (s Spec) isForFile() bool {
	for _, element := range s.Argv {
		for _, p := range fixedPlaceholders[:3] {
			if strings.Contains(element, p) {
				return true
			}
		}
	}
	return len(s.OnUpload) > 0
}

// firstNamed returns the position of the first argument that Args names.
func (s Spec) firstNamed() int {
	if s.isForFile() {
		return 2
	}
	return 0
}

// argCount returns the number of arguments that the task takes.
func (s Spec) argCount() (n int) {
	n = s.firstNamed() + len(s.Args)
	for _, element := range s.Argv {
		for _, p := range placeholder.FindAllString(element, -1) {
			if i, err := strconv.Atoi(p[1 : len(p)-1]); err == nil {
				n = max(n, i+1)
			}
		}
	}
	return n
}

// args returns the task's arguments, all of type string.
func (s Spec) args() []jobs.Arg {
	all := make([]jobs.Arg, s.argCount())
	for i := range all {
		all[i] = jobs.Arg{Name: fmt.Sprint("arg", i), Type: jobs.ArgString, Check: checkText}
	}
	if s.isForFile() {
		all[0].Name, all[1].Name = "directory", "filename"
	}
	for i, name := range s.Args {
		all[s.firstNamed()+i].Name = name
	}
	return all
}

// accepts reports whether the task is started for an uploaded file with that name.
func (s Spec) accepts(filename string) bool {
	for _, p := range s.OnUpload {
		if ok, err := path.Match(strings.ToLower(p), strings.ToLower(filename)); ok && err == nil {
			return true
		}
	}
	return false
}

// check validates the arguments: the command line must expand without an error and must
// not be too long.
func (s Spec) check(raw json.RawMessage) error {
	var args []string
	if err := json.Unmarshal(raw, &args); err != nil {
		return err
	}
	argv, err := s.expand(args, "/file", "id")
	if err != nil {
		return err
	}
	return checkExecSize(argv, s.Env)
}

// expand returns argv with the placeholders replaced by values. Values are not expanded
// again. A value at the start of an element must not begin with a hyphen, because the
// program would parse it as an option.
func (s Spec) expand(args []string, file, id string) ([]string, error) {
	for i, a := range args {
		if strings.ContainsRune(a, 0) {
			return nil, fmt.Errorf("argument %d contains a zero byte", i+1)
		}
	}
	values := map[string]string{"{file}": file, "{id}": id}
	for i, a := range args {
		values[fmt.Sprintf("{%d}", i)] = a
	}
	if s.isForFile() && len(args) > 1 {
		values["{directory}"], values["{filename}"] = args[0], args[1]
	}
	for i, name := range s.Args {
		if at := s.firstNamed() + i; at < len(args) {
			values["{"+name+"}"] = args[at]
		}
	}
	argv := make([]string, len(s.Argv))
	for i, element := range s.Argv {
		argv[i] = placeholder.ReplaceAllStringFunc(element, func(p string) string {
			if value, ok := values[p]; ok {
				return value
			}
			return p // has an underscore and is not a name: not a placeholder
		})
		if strings.HasPrefix(argv[i], "-") && !strings.HasPrefix(element, "-") {
			return nil, fmt.Errorf("%.80q must not begin with a hyphen: the program would parse it as an option", argv[i])
		}
	}
	return argv, nil
}

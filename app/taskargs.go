package app

import (
	"errors"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// splitArgs splits the arguments of a subcommand of "tasks" into positional arguments
// and flags. Its error says which arguments the subcommand takes.
type splitArgs func(args []string) (words, flags []string, err error)

// splitAtFlag splits arguments before the first flag.
func splitAtFlag(args []string) (words, rest []string) {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

// takeNone takes no positional arguments: parsing the flags reports them as errors.
func takeNone(args []string) (words, flags []string, err error) { return nil, args, nil }

// takeID takes the id of a task.
func takeID(args []string) (words, flags []string, err error) {
	if len(args) == 0 || !jobs.ValidID(args[0]) || strings.HasPrefix(args[0], "-") {
		return nil, nil, errors.New("missing or invalid task id: give ID [flags]")
	}
	return args[:1], args[1:], nil
}

// takeCall takes the name of a task and its arguments. Arguments that begin with a
// hyphen follow "--".
func takeCall(args []string) (words, flags []string, err error) {
	words, rest := splitAtFlag(args)
	for i, a := range rest {
		if a == "--" {
			words, rest = append(words[:len(words):len(words)], rest[i+1:]...), rest[:i]
			break
		}
	}
	if len(words) == 0 {
		return nil, nil, errors.New("missing task name: give NAME [ARGS] [flags] [-- ARGS]")
	}
	return words, rest, nil
}

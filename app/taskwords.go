package app

import (
	"errors"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// wordsOf takes the words that belong to a verb from the arguments behind it;
// the rest are flags. Its error continues "server tasks VERB".
type wordsOf func(args []string) (words, flags []string, err error)

// leading splits arguments before the first flag.
func leading(args []string) (words, rest []string) {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

// noWords leaves words to the flags, which refuse them.
func noWords(args []string) (words, flags []string, err error) { return nil, args, nil }

func anID(args []string) (words, flags []string, err error) {
	if len(args) == 0 || !jobs.ValidID(args[0]) || strings.HasPrefix(args[0], "-") {
		return nil, nil, errors.New("wants the id of a task")
	}
	return args[:1], args[1:], nil
}

// aCall wants the name of a task and its arguments; what begins with a hyphen
// and is no flag stands behind --.
func aCall(args []string) (words, flags []string, err error) {
	words, rest := leading(args)
	for i, a := range rest {
		if a == "--" {
			words, rest = append(words[:len(words):len(words)], rest[i+1:]...), rest[:i]
			break
		}
	}
	if len(words) == 0 {
		return nil, nil, errors.New("wants the name of a task and its arguments: NAME ARGS… [flags] [-- ARGS…]")
	}
	return words, rest, nil
}

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// maxString is the longest element of argv and of the environment, in bytes:
// MAX_ARG_STRLEN of execve(2) for pages of 4 KiB, without the zero byte.
const maxString = 32*4096 - 1

// fits reports whether the system takes argv and environment, as execve(2) has
// it: each element must be within maxString, and all of them, with a pointer to
// each and the name of the program, within a quarter of the stack's limit.
func checkExecSize(argv, env []string) error {
	total := unix.PathMax
	for _, list := range [][]string{argv, env} {
		for _, s := range list {
			if len(s) > maxString {
				return fmt.Errorf("one of them is %d bytes long, more than the %d that a program can be given", len(s), maxString)
			}
			total += len(s) + 1 + 8
		}
	}
	if limit := execSizeLimit(); total > limit {
		return fmt.Errorf("together they are %d bytes long, more than the %d that a program can be given", total, limit)
	}
	return nil
}

// room is the limit on all of argv and environment.
func execSizeLimit() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		stack.Cur = 8 << 20
	}
	return int(max(min(stack.Cur/4, 6<<20), 128<<10)) //nolint:gosec // at most 6 MiB
}

// checkText refuses an argument, a JSON text, that no argv can hold.
func checkText(raw json.RawMessage) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	switch {
	case strings.ContainsRune(s, 0):
		return errors.New("holds a zero byte")
	case len(s) > maxString:
		return fmt.Errorf("is %d bytes long, more than the %d that a program can be given", len(s), maxString)
	}
	return nil
}

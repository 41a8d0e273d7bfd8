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

// checkExecSize checks argv and env against the limits of execve(2). An element may have
// maxString bytes. All elements together, with a pointer for each and the name of the
// program, may have a quarter of the stack limit.
func checkExecSize(argv, env []string) error {
	total := unix.PathMax
	for _, list := range [][]string{argv, env} {
		for _, s := range list {
			if len(s) > maxString {
				return fmt.Errorf("one element is %d bytes long, more than the limit of %d", len(s), maxString)
			}
			total += len(s) + 1 + 8
		}
	}
	if limit := execSizeLimit(); total > limit {
		return fmt.Errorf("all elements together are %d bytes long, more than the limit of %d", total, limit)
	}
	return nil
}

// execSizeLimit returns the limit on argv and environment together, in bytes.
func execSizeLimit() int {
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		stack.Cur = 8 << 20
	}
	return int(max(min(stack.Cur/4, 6<<20), 128<<10)) //nolint:gosec // at most 6 MiB
}

// checkText checks that an argument, a JSON string, can be an element of argv.
func checkText(raw json.RawMessage) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	switch {
	case strings.ContainsRune(s, 0):
		return errors.New("contains a zero byte")
	case len(s) > maxString:
		return fmt.Errorf("is %d bytes long, more than the limit of %d", len(s), maxString)
	}
	return nil
}

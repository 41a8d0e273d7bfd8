package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// AdoptOrphans makes this process the parent of all orphans among its descendants, so that
// Descendants also finds processes that have left their group and session (prctl(2),
// PR_SET_CHILD_SUBREAPER). It is for a process that runs one program and nothing else.
func AdoptOrphans() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// ReapOrphans reaps the children of this process that have ended, except the one with the
// pid except.
func ReapOrphans(except int) {
	for _, pid := range children(os.Getpid()) {
		if pid != except {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // it may still run
		}
	}
}

// Descendants returns the pids of the children of a process, of their children, and so on.
// Processes that have ended and are not reaped are included.
func Descendants(pid int) (all []int) {
	queue := []int{pid}
	seen := map[int]bool{pid: true}
	for len(queue) > 0 {
		for _, child := range children(queue[0]) {
			if !seen[child] {
				seen[child] = true
				all, queue = append(all, child), append(queue, child)
			}
		}
		queue = queue[1:]
	}
	return all
}

// children returns the children of a process (proc_pid_task(5), CONFIG_PROC_CHILDREN).
func children(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is valid
	for _, file := range files {
		text, _ := os.ReadFile(file) // the thread may have ended
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// Memory returns the resident memory of some processes in bytes (proc_pid_statm(5)). Memory
// that they share counts for each of them.
func Memory(pids []int) (bytes int64) {
	for _, pid := range pids {
		var size, resident int64
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err == nil {
			_, err = fmt.Sscan(string(text), &size, &resident)
		}
		if err == nil {
			bytes += resident * int64(os.Getpagesize())
		}
	}
	return bytes
}

// KillDescendants kills all descendants of this process, and waits until they have ended, at
// most for limit. It reaps those that are its children, except the one with the pid except.
// AdoptOrphans must have been called before they started.
func KillDescendants(except int, limit time.Duration) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		ReapOrphans(except)
		left := 0
		for _, pid := range Descendants(os.Getpid()) {
			if pid != except && !ended(pid) {
				left++
				_ = unix.Kill(pid, unix.SIGKILL) // its pid is not reused: a descendant is reaped by its parent or by this process
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes still run %v after SIGKILL", left, limit)
		}
	}
}

// ended reports whether a process has ended, and may not be reaped (proc_pid_stat(5)).
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := bytes.Cut(text[max(bytes.LastIndexByte(text, ')'), 0):], []byte(" "))
	return len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
}

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc/PID/stat (proc_pid_stat(5)). USER_HZ is 100 on every
// Linux that Go supports.
const tick = time.Second / 100

// CPU returns the CPU time of a process and its descendants, in steps of 10 ms.
func CPU(root int) (total time.Duration, err error) {
	family, err := Family(root)
	if err != nil {
		return 0, err
	}
	for _, pid := range family {
		fields, err := stat(pid)
		if err != nil {
			return 0, err
		}
		user, errUser := strconv.ParseInt(fields[11], 10, 64)
		system, errSystem := strconv.ParseInt(fields[12], 10, 64)
		if err := errors.Join(errUser, errSystem); err != nil {
			return 0, err
		}
		total += time.Duration(user+system) * tick
	}
	return total, nil
}

// Used returns the CPU time of the current threads of a process, in nanoseconds: the first
// number in /proc/PID/task/TID/schedstat
// (https://docs.kernel.org/scheduler/sched-stats.html). The Go runtime keeps its threads.
func Used(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, errors.Join(fmt.Errorf("process %d has no threads", pid), err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		used, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", thread, err)
		}
		total += time.Duration(used)
	}
	return total, nil
}

// Kill kills a process and its descendants, because some peers do not end their children.
func Kill(root int) {
	family, err := Family(root)
	if err != nil {
		family = []int{root}
	}
	for _, pid := range family {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// Family returns the PIDs of a process and its descendants, parents first.
func Family(root int) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[string][]int{}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		if fields, err := stat(pid); err == nil { // else it has ended
			children[fields[1]] = append(children[fields[1]], pid)
		}
	}
	family := []int{root}
	for i := 0; i < len(family); i++ {
		family = append(family, children[strconv.Itoa(family[i])]...)
	}
	return family, nil
}

// stat returns the fields of /proc/PID/stat after the name: the state, the parent and
// so on. The name may contain any character.
func stat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	return fields, nil
}

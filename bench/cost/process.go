package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// start starts a candidate on the first core and waits until it answers.
func (c *candidate) start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	if err := ln.Close(); err != nil {
		return err
	}
	c.url = "http://127.0.0.1:" + port + "/"
	args := []string{"-c", "0"}
	for _, arg := range c.command {
		args = append(args, strings.Replace(arg, "PORT", port, 1))
	}
	c.root = exec.CommandContext(ctx, "taskset", args...)
	c.root.Stderr = os.Stderr
	if err := c.root.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w", c.name, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stop ends a candidate with its children.
func (c *candidate) stop() {
	family, err := familyOf(c.root.Process.Pid)
	if err != nil {
		family = []int{c.root.Process.Pid}
	}
	for _, pid := range family {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = c.root.Wait()
}

// tick is the unit of times in /proc/PID/stat (proc_pid_stat(5)): USER_HZ, which
// is 100 on every Linux that Go runs on.
const tick = time.Second / 100

// cpuOf is the CPU time that a process and its descendants have used.
func cpuOf(root int) (total time.Duration, err error) {
	family, err := familyOf(root)
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

// familyOf lists a process and its descendants, parents first.
func familyOf(root int) ([]int, error) {
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
		if fields, err := stat(pid); err == nil { // else it is gone by now
			children[fields[1]] = append(children[fields[1]], pid)
		}
	}
	family := []int{root}
	for i := 0; i < len(family); i++ {
		family = append(family, children[strconv.Itoa(family[i])]...)
	}
	return family, nil
}

// stat reads the fields of /proc/PID/stat behind the name, which may hold
// anything: the state comes first, then the parent.
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

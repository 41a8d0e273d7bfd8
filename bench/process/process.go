// Package process starts the servers of benchmarks and reads their CPU time and memory.
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is the time limit for a server to listen, and leave the time limit for it to end
// after TERM.
const (
	patience = time.Minute
	leave    = 5 * time.Second
)

// Begin starts a server on a port of 127.0.0.1 and returns when it accepts
// connections. The server gets TERM when ctx ends, and the caller must wait for it.
func Begin(ctx context.Context, port, command string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = leave
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err == nil {
			return cmd, conn.Close()
		}
		if time.Now().After(deadline) {
			return cmd, errors.Join(fmt.Errorf("%s is not listening", command), err)
		}
	}
}

// FreePort returns a port of 127.0.0.1 that nothing listens on.
func FreePort(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	return strconv.Itoa(port), ln.Close()
}

// Child returns the PID of the child of a process with the name that ps shows. It waits
// for the child: a master listens before it has started its children.
func Child(ctx context.Context, parent int, name string) (int, error) {
	for deadline := time.Now().Add(patience); ; {
		pid, err := child(parent, name)
		if err == nil || time.Now().After(deadline) {
			return pid, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func child(parent int, name string) (int, error) {
	// proc_pid_task(5): the children that each thread has started.
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", parent))
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		pids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", parent, thread.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			found, err := strconv.Atoi(pid)
			if err != nil {
				return 0, err
			}
			if shown, err := Name(found); err == nil && shown == name {
				return found, nil
			}
		}
	}
	return 0, fmt.Errorf("process %d has no child %q", parent, name)
}

// Name returns the name that ps shows of a process: its arguments, or for a child of Gale its
// slot.
func Name(pid int) (string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	first, _, _ := strings.Cut(string(line), "\x00")
	return strings.TrimSpace(first), err
}

// Resident returns the resident memory of a process in bytes: VmRSS of
// proc_pid_status(5).
func Resident(pid int) (int64, error) { return memory(pid, "status", "VmRSS:") }

// Proportional returns the proportional set size of a process in bytes: Pss of
// proc_pid_smaps(5). Each page counts in part for the processes that share it.
func Proportional(pid int) (int64, error) { return memory(pid, "smaps_rollup", "Pss:") }

func memory(pid int, file, field string) (int64, error) {
	return size(fmt.Sprintf("/proc/%d/%s", pid, file), field)
}

// Available returns the memory of the machine that programs can use, in bytes: MemAvailable of
// proc_meminfo(5).
func Available() (int64, error) { return size("/proc/meminfo", "MemAvailable:") }

// Kernel returns the memory that the kernel uses for sockets, files and other objects, in
// bytes: Slab of proc_meminfo(5), and the data in the buffers of TCP sockets (/proc/net/sockstat).
// It is that of the whole machine.
func Kernel() (int64, error) {
	objects, err := size("/proc/meminfo", "Slab:")
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "TCP:" {
			pages, err := strconv.ParseInt(fields[len(fields)-1], 10, 64) // after "mem"
			return objects + pages*int64(os.Getpagesize()), err
		}
	}
	return 0, errors.New("/proc/net/sockstat: no TCP")
}

// size returns the value of a field, in bytes.
func size(file, field string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s: no %s", file, field)
}

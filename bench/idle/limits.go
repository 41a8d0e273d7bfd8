package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/galeserver/gale/bench/process"
)

const (
	// spare is the number of files that a program opens beside its connections.
	spare = 1000
	// memoryOfEach is the memory that the kernel, the server and the clients need for a
	// connection to Gale, in bytes, rounded up.
	memoryOfEach = 16 << 10
)

// allow raises the limit of open files for this process and those that it starts, so that each
// can have n connections. It returns the number that each can have, which is lower if this
// process may not raise the limit. The error says which limit of the machine is too low.
func allow(n int) (each int, err error) {
	files := uint64(n + spare)
	if most, err := sysctl("fs/file-max"); err != nil || most < 2*files { // both ends are on this machine
		return 0, fmt.Errorf("%d connections: fs.file-max is %d: run sysctl -w fs.file-max=%d: %w", n, most, 2*files, cmp.Or(err, errTooLow))
	}
	available, err := process.Available()
	if err != nil {
		return 0, err
	}
	if need := int64(n) * memoryOfEach; available < need {
		return 0, fmt.Errorf("%d connections need about %d MiB of memory, %d MiB are available: %w", n, need>>20, available>>20, errTooLow)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	// Package syscall passes a limit that it has set to child processes. It would restore the
	// limit with which this process was started otherwise.
	more := syscall.Rlimit{Cur: max(limit.Cur, files), Max: max(limit.Max, files)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
		return n, nil
	}
	// More than the hard limit or than fs.nr_open.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, os.NewSyscallError("setrlimit", err)
	}
	return int(limit.Max) - spare, nil
}

// errTooLow is the error for a limit of the machine.
var errTooLow = errors.New("a limit of this machine is too low")

// explain adds the reason to the error of a new connection if the table of the kernel that
// follows connections is full: then packets are dropped.
func explain(err error) error {
	count, errCount := sysctl("net/netfilter/nf_conntrack_count")
	most, errMost := sysctl("net/netfilter/nf_conntrack_max")
	if cmp.Or(errCount, errMost) != nil || count < most-most/20 {
		return err
	}
	return errors.Join(err, fmt.Errorf("the kernel follows %d connections: raise net.netfilter.nf_conntrack_max, which is %d", count, most))
}

// sysctl returns a parameter of the kernel that is a number.
func sysctl(name string) (uint64, error) {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

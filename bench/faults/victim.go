package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// victim is a child that was killed, and whose requests it was answering.
type victim struct {
	at   time.Time
	held map[int]bool // ports of the clients whose connections it had accepted
}

// murder kills a process. It is stopped first, so that what it holds can be
// looked at; to its clients and its master that is all the same.
func murder(pid int) (v victim, err error) {
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return v, err
	}
	if err := eventually("the child stops", func() bool { return state(pid) == 'T' }); err != nil {
		return v, err
	}
	v.held, err = accepted(pid)
	v.at = time.Now()
	return v, err
}

// state is the third field of /proc/PID/stat (proc_pid_stat(5)).
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	if err != nil || i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// accepted finds the peers of all TCP connections that a process holds, through
// copies of its descriptors (pidfd_getfd(2)).
func accepted(pid int) (map[int]bool, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing to lose
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	ports := map[int]bool{}
	for _, e := range entries {
		number, _ := strconv.Atoi(e.Name())
		fd, err := unix.PidfdGetfd(pidfd, number, 0)
		if err != nil {
			continue
		}
		switch peer, _ := unix.Getpeername(fd); peer := peer.(type) {
		case *unix.SockaddrInet4:
			ports[peer.Port] = true
		case *unix.SockaddrInet6:
			ports[peer.Port] = true
		}
		_ = unix.Close(fd)
	}
	return ports, nil
}

// eventually polls until cond holds, half a minute at most.
func eventually(what string, cond func() bool) error {
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain: %s", what)
		}
		<-time.After(time.Millisecond)
	}
	return nil
}

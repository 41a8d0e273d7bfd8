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

// victim is a child that was killed or stopped.
type victim struct {
	at   time.Time
	held map[int]bool // ports of the clients whose connections it has accepted
}

// killVictim kills a process. Before that it stops the process and reads its connections.
// For clients and the master this is the same as a kill alone.
func killVictim(pid int) (v victim, err error) {
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return v, err
	}
	if err := eventually("the child stops", func() bool { return stopped(pid) }); err != nil {
		return v, err
	}
	v.held, err = accepted(pid)
	v.at = time.Now()
	return v, err
}

// stopped reports whether all threads of a process are stopped. /proc/PID/stat has only the
// state of the first thread, while another thread may still return from accept4.
func stopped(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		if threadState(pid, thread.Name()) != 'T' {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// threadState returns the state of a thread: the third field of
// /proc/PID/task/TID/stat (proc_pid_stat(5)).
func threadState(pid int, thread string) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, thread))
	i := bytes.LastIndexByte(stat, ')')
	if err != nil || i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// accepted returns the remote ports of all TCP connections of a process, through copies
// of its descriptors (pidfd_getfd(2)).
func accepted(pid int) (map[int]bool, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing was written
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

// eventually polls until cond returns true, for up to half a minute.
func eventually(what string, cond func() bool) error {
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("timed out: %s", what)
		}
		<-time.After(time.Millisecond)
	}
	return nil
}

package prefork

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Variables of systemd's protocols (sd_listen_fds(3), sd_notify(3)).
const (
	envListenFDs   = "LISTEN_FDS"
	envListenPID   = "LISTEN_PID"
	envListenNames = "LISTEN_FDNAMES"
	envNotify      = "NOTIFY_SOCKET"
)

// firstHanded is SD_LISTEN_FDS_START: the first descriptor handed over.
const firstHanded = 3

// maxHanded bounds what LISTEN_FDS may claim.
const maxHanded = 1024

// handedOver returns how many descriptors systemd has handed to the process
// with that PID.
func handedOver(environ []string, pid int) (int, error) {
	vars := variables(environ)
	if vars[envListenPID] != strconv.Itoa(pid) || vars[envListenFDs] == "" {
		return 0, nil // none, or meant for another process
	}
	n, err := strconv.Atoi(vars[envListenFDs])
	if err != nil || n < 0 || n > maxHanded {
		return 0, fmt.Errorf("%s=%s: not a number of sockets", envListenFDs, vars[envListenFDs])
	}
	return n, nil
}

// variables makes a map of an environment.
func variables(environ []string) map[string]string {
	vars := make(map[string]string, len(environ))
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return vars
}

// takeHanded readies the sockets that systemd bound. They are used as raw
// descriptors, as those the master makes itself are, see listenGroup.
func takeHanded(n int) (fds []int, addr *net.TCPAddr, err error) {
	for fd := firstHanded; fd < firstHanded+n; fd++ {
		listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listening == 0 {
			return nil, nil, fmt.Errorf("descriptor %d from systemd is no listening socket", fd)
		}
		bound, err := boundTo(fd)
		if err != nil {
			return nil, nil, fmt.Errorf("descriptor %d from systemd is no TCP socket: %w", fd, err)
		}
		if addr != nil && addr.String() != bound.String() {
			return nil, nil, fmt.Errorf("sockets from systemd have different addresses, %s and %s: give one, or one a slot with ReusePort=", addr, bound)
		}
		addr = bound
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, nil, os.NewSyscallError("fcntl", err)
		}
		fds = append(fds, fd)
	}
	if len(fds) == 0 {
		return nil, nil, errors.New("no sockets from systemd")
	}
	return fds, addr, nil
}

// tell sends a state to systemd (sd_notify(3)), if the service is one of
// Type=notify.
func (m *Master) tell(state string) {
	if err := m.sys.tell(state); err != nil {
		m.log.Warn("cannot tell systemd", "error", err)
	}
}

func tell(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}

// tellReloading says that a reload has begun; READY=1 ends it.
func (m *Master) tellReloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	m.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=checking the new binary and configuration", now.Nano()/1000))
}

// tellReady says that the server serves, at the start and after a reload.
func (m *Master) tellReady() {
	m.told = m.summary()
	m.tell("READY=1\nSTATUS=" + m.told)
}

// tellStatus says in a line how it goes, when that has changed.
func (m *Master) tellStatus() {
	if line := m.summary(); line != m.told {
		m.told = line
		m.tell("STATUS=" + line)
	}
}

// summary is the state of the server in a line.
func (m *Master) summary() string {
	switch {
	case m.stopping != "":
		return "stopping: " + m.stopping
	case m.failure != "" || m.setback != "":
		return fmt.Sprintf("%d of %d slots live; reload failed: %s", m.live(), len(m.slots), cmp.Or(m.failure, m.setback))
	}
	return fmt.Sprintf("%d of %d slots live", m.live(), len(m.slots))
}

// watchdogEvery is how often systemd wants to hear from the master
// (WatchdogSec=), halved as sd_watchdog_enabled(3) advises; 0: never.
func watchdogEvery() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every / 2
}

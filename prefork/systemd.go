package prefork

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
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

// firstInheritedFD is SD_LISTEN_FDS_START: the first descriptor handed over.
const firstInheritedFD = 3

// maxSystemdSockets bounds what LISTEN_FDS may claim.
const maxSystemdSockets = 1024

// systemdSocketCount returns how many descriptors systemd has handed to the process
// with that PID.
func systemdSocketCount(environ []string, pid int) (int, error) {
	vars := variables(environ)
	if vars[envListenPID] != strconv.Itoa(pid) || vars[envListenFDs] == "" {
		return 0, nil // none, or meant for another process
	}
	n, err := strconv.Atoi(vars[envListenFDs])
	if err != nil || n < 0 || n > maxSystemdSockets {
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

// inheritSystemdSockets readies the sockets that systemd bound. They are used as raw
// descriptors, as those the master makes itself are, see listenGroup.
func inheritSystemdSockets(n int) (fds []int, addr *net.TCPAddr, err error) {
	for fd := firstInheritedFD; fd < firstInheritedFD+n; fd++ {
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

// notifier reports the state of the server to systemd (sd_notify(3)), if the
// service is one of Type=notify.
type notifier struct {
	sys          *system
	log          *slog.Logger
	lastNotified string // status line
}

func (n *notifier) send(state string) {
	if err := n.sys.sdNotify(state); err != nil {
		n.log.Warn("cannot notify systemd", "error", err)
	}
}

// reloading announces that a reload has begun; ready ends it.
func (n *notifier) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=checking the new binary and configuration", now.Nano()/1000))
}

// ready announces that the server serves, at the start and after a reload.
func (n *notifier) ready(status string) {
	n.lastNotified = status
	n.send("READY=1\nSTATUS=" + status)
}

// status sends the status line if it has changed.
func (n *notifier) status(status string) {
	if status != n.lastNotified {
		n.lastNotified = status
		n.send("STATUS=" + status)
	}
}

func (n *notifier) stopping() { n.send("STOPPING=1") }

func (n *notifier) watchdog() { n.send("WATCHDOG=1") }

func sdNotify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}

// notifyReady notifies systemd that the server serves, once every slot has been
// live.
func (m *Master) notifyReady() {
	if m.started {
		m.notifier.ready(m.summary())
	}
}

// summary is the state of the server in a line.
func (m *Master) summary() string {
	if m.stopping != "" {
		return "stopping: " + m.stopping
	}
	line := fmt.Sprintf("%d of %d slots live", m.slots.live(), len(m.slots.all))
	if err := m.reloadError(); err != "" {
		line += "; reload failed: " + err
	}
	return line
}

// reloadError is why the last reload changed nothing, or has not reached every
// slot; empty if it did.
func (m *Master) reloadError() string { return cmp.Or(m.reloader.failure, m.rollout.failure) }

// watchdog ticks as often as the master has to notify systemd's watchdog.
func watchdog() (tick <-chan time.Time, stop func()) {
	every := watchdogInterval()
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// watchdogInterval is systemd's WatchdogSec=, halved as sd_watchdog_enabled(3)
// advises; 0 if there is none.
func watchdogInterval() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every / 2
}

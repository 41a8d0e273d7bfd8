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

// Environment variables of systemd (sd_listen_fds(3), sd_notify(3)).
const (
	envListenFDs   = "LISTEN_FDS"
	envListenPID   = "LISTEN_PID"
	envListenNames = "LISTEN_FDNAMES"
	envNotify      = "NOTIFY_SOCKET"
)

// firstInheritedFD is the first descriptor after the standard ones. systemd passes
// sockets from there on (SD_LISTEN_FDS_START).
const firstInheritedFD = 3

// maxSystemdSockets is the maximum value of LISTEN_FDS.
const maxSystemdSockets = 1024

// systemdSocketCount returns the number of sockets that systemd has passed to the
// process with a PID.
func systemdSocketCount(environ []string, pid int) (int, error) {
	vars := variables(environ)
	if vars[envListenPID] != strconv.Itoa(pid) || vars[envListenFDs] == "" {
		return 0, nil // systemd passed no sockets, or passed them to another process
	}
	n, err := strconv.Atoi(vars[envListenFDs])
	if err != nil || n < 0 || n > maxSystemdSockets {
		return 0, fmt.Errorf("%s=%s: not a number of sockets from 0 to 1024", envListenFDs, vars[envListenFDs])
	}
	return n, nil
}

// variables converts an environment to a map.
func variables(environ []string) map[string]string {
	vars := make(map[string]string, len(environ))
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return vars
}

// inheritSystemdSockets returns the descriptors of n sockets from systemd and their
// address. It makes them non-blocking and close-on-exec, see listenGroup.
func inheritSystemdSockets(n int) (fds []int, addr *net.TCPAddr, err error) {
	for fd := firstInheritedFD; fd < firstInheritedFD+n; fd++ {
		listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listening == 0 {
			return nil, nil, fmt.Errorf("descriptor %d from systemd is not a listening socket", fd)
		}
		bound, err := boundTo(fd)
		if err != nil {
			return nil, nil, fmt.Errorf("descriptor %d from systemd is not a TCP socket: %w", fd, err)
		}
		if addr != nil && addr.String() != bound.String() {
			return nil, nil, fmt.Errorf("sockets from systemd have different addresses, %s and %s: use one address in the socket unit, and ReusePort=yes for several sockets", addr, bound)
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

// notifier sends the state of the server to systemd (sd_notify(3)), if the service has
// Type=notify or Type=notify-reload.
type notifier struct {
	sys          *system
	log          *slog.Logger
	lastNotified string // last status line sent
}

func (n *notifier) send(state string) {
	if err := n.sys.sdNotify(state); err != nil {
		n.log.Warn("cannot notify systemd", "error", err)
	}
}

// reloading reports the start of a reload. ready reports its end.
func (n *notifier) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=checking the new binary and configuration", now.Nano()/1000))
}

// ready reports that the server is ready, after the start or a reload.
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

// notifyReady notifies systemd that the server is ready. It does nothing before all slots
// have been live.
func (m *Master) notifyReady() {
	if m.started {
		m.notifier.ready(m.summary())
	}
}

// summary returns the state of the server in one line.
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

// reloadError returns the reason why the last reload changed nothing, or has not reached
// every slot. It is empty if the reload succeeded.
func (m *Master) reloadError() string { return cmp.Or(m.reloader.failure, m.rollout.failure) }

// watchdog returns a ticker for the notifications to systemd's watchdog. tick is nil if
// systemd does not expect any.
func watchdog() (tick <-chan time.Time, stop func()) {
	every := watchdogInterval()
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// watchdogInterval returns half of systemd's WatchdogSec=, as sd_watchdog_enabled(3)
// recommends. It is 0 if the watchdog is off.
func watchdogInterval() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every / 2
}

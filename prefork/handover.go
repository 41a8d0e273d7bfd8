package prefork

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables that a master sets for the next one.
const (
	envState = "GALE_STATE" // descriptor of the saved state
	envTrial = "GALE_TRIAL" // in a trial: descriptor of the file for the result
)

// savedMaster is the state that a master hands over to its successor. Its
// descriptors stay open over execve(2). The JSON keys never change, because a
// master of another release reads them.
type savedMaster struct {
	Layout        int                   // version of the layout of the scoreboard pages
	Address       string                // listen address, as configured
	Bound         string                // address that the sockets are bound to; empty: no sockets
	Instance      string                // name of the master, see instance
	Release       int                   // number of the release of this master
	Started       bool                  // all slots have been live
	ReloadPending bool                  `json:"Again"` // another reload was requested
	Config        []byte                // configuration of the new release
	TestedBinary  string                `json:"Binary"` // identity of the binary that was tested
	SharedSocket  bool                  `json:"Shared"` // all slots share one listening socket
	FromSystemd   bool                  `json:"Handed"` // systemd passed the listening sockets
	Parked        map[string]int        `json:"Aside"`  // descriptors of the master's own listeners
	Reloads       int                   // reloads that reached every slot
	Refused       int                   // reloads that changed nothing
	RemovedStats  map[string]savedStats `json:"Former"` // statistics of removed slots, by slot name
	SharedMemory  int                   // descriptor; 0: none
	AppState      []byte                // state of the application, see Options.AppState
	Slots         []savedSlot
}

type savedSlot struct {
	Role            string
	Number          int
	Listener        int             // descriptor of the listening socket; -1: none
	Page            int             // descriptor of the scoreboard page
	Generation      int             // number of processes that were started
	Restarts        int             // number of unexpected exits, without those of successors
	Hangs           int             // number of processes that were killed because they hung
	Reports         int             // descriptor; 0: none, the previous master does not support reports
	MergedReport    []byte          `json:"Past"`   // merged reports of processes that have exited
	UnexpectedExits []time.Time     `json:"Deaths"` // times of recent unexpected exits, see exitTimes
	LastExit        string          // reason of the last exit
	StartAt         time.Time       `json:"Again"`    // time of the next start
	Removing        bool            `json:"Retiring"` // the slot is being removed
	Removed         bool            `json:"Retired"`  // the socket is closed, and no further process is started
	Adopter         int             // PID of the adopter; 0: none
	Current         *savedProcess   // nil: none
	Next            *savedProcess   // successor of Current; nil: none
	Leaving         []*savedProcess `json:"Leaving"` // processes that drain
}

type savedProcess struct {
	PID         int
	Control     int // descriptor of the control socket; -1: none
	Generation  int
	Release     int // number of the release that it was started from
	State       State
	Since       time.Time // start of the state
	Deadline    time.Time // time by which the state must end; zero: no deadline
	ReadyAt     time.Time `json:"Booted"` // time at which it became ready
	QuitSent    bool      `json:"Quit"`   // SIGQUIT was sent, SIGKILL follows
	ExitReason  string    `json:"Doom"`   // reason why the master drains or kills it; empty: none
	MaxRequests int64     `json:"Enough"` // number of requests after which it is replaced; 0: unlimited
	Resources   string    `json:"Share"`  // its resource limits, see resourceLimits
}

// handOver executes the new binary in the master's process. It returns only if that
// fails, or if a signal to stop has arrived.
func (m *Master) handOver() {
	m.sys.holdSignals(m.signals)
	if m.handlePendingSignals(); !m.reloader.active() { // a signal to stop has ended the reload
		m.sys.subscribe(m.signals, masterSignals...)
		return
	}
	m.supervisor.pauseReading()
	state, err := m.save()
	if err == nil {
		inherited := append(m.slots.descriptors(), slices.Collect(maps.Values(m.parked.descriptors()))...)
		if fd := m.supervisor.shared.descriptor(); fd >= 0 {
			inherited = append(inherited, fd)
		}
		setCloseOnExec(inherited, false)
		m.log.Info("reload: executing the new binary", "program", m.reloader.program, "release", m.supervisor.release.number+1)
		err = m.sys.exec(m.reloader.program, m.opt.Command, nextEnviron(m.opt.Environ), state)
		setCloseOnExec(inherited, true)
	}
	m.sys.subscribe(m.signals, masterSignals...)
	m.supervisor.resumeReading()
	m.reloader.fail(fmt.Sprintf("execute %s: %v", m.reloader.program, err))
	for _, s := range m.slots.all {
		if s.next != nil && s.next.state == StateLive {
			m.promote(s)
		}
	}
	m.checkReady()
}

// handlePendingSignals handles the signals that arrived before holdSignals.
func (m *Master) handlePendingSignals() {
	for {
		select {
		case sig := <-m.signals:
			m.handleSignal(sig)
		default:
			return
		}
	}
}

// save returns the encoded state for the next master.
func (m *Master) save() ([]byte, error) {
	saved := savedMaster{
		Layout: pageLayout, Address: m.opt.Address, Instance: m.supervisor.instance, Release: m.supervisor.release.number, Started: m.started,
		ReloadPending: m.reloader.pending, SharedSocket: m.sockets.shared, FromSystemd: m.sockets.fromSystemd, Parked: m.parked.descriptors(),
		Reloads: m.rollout.reloads, Refused: m.reloader.refused, RemovedStats: m.slots.removed,
		SharedMemory: max(m.supervisor.shared.descriptor(), 0),
	}
	if m.sockets.address != nil {
		saved.Bound = m.sockets.address.String()
	}
	if m.opt.AppState != nil {
		saved.AppState = m.opt.AppState()
	}
	if r := m.reloader.current; r != nil {
		saved.Config, saved.TestedBinary = r.next.config, r.binary
	}
	for _, s := range m.slots.all {
		saved.Slots = append(saved.Slots, s.save())
	}
	return json.Marshal(saved)
}

func (s *slot) save() savedSlot {
	saved := savedSlot{
		Role: s.role, Number: s.number, Listener: s.listener, Page: s.page.fd, Generation: s.generation,
		Restarts: s.restarts, Hangs: s.hangs, Reports: max(s.reports.descriptor(), 0), MergedReport: s.mergedReport,
		UnexpectedExits: s.unexpectedExits, LastExit: s.lastExit, StartAt: s.startAt,
		Removing: s.removing, Removed: s.removed, Current: s.current.save(), Next: s.next.save(),
	}
	if s.adopter != nil {
		saved.Adopter = s.adopter.pid
	}
	for _, p := range s.leaving {
		saved.Leaving = append(saved.Leaving, p.save())
	}
	return saved
}

func (p *process) save() *savedProcess {
	if p == nil {
		return nil
	}
	return &savedProcess{
		PID: p.pid, Control: descriptor(p.control), Generation: p.generation, Release: p.release, State: p.state,
		Since: p.since, Deadline: p.deadline, ReadyAt: p.readyAt, QuitSent: p.quitSent, ExitReason: p.exitReason, MaxRequests: p.maxRequests, Resources: p.resources,
	}
}

// descriptor returns the descriptor of a socket or file, which stays its owner. It is -1 if
// there is none.
func descriptor(socket any) int {
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	_ = raw.Control(func(own uintptr) { fd = int(own) })
	return fd
}

func setCloseOnExec(fds []int, on bool) {
	flag := 0
	if on {
		flag = unix.FD_CLOEXEC
	}
	for _, fd := range fds {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag)
	}
}

// errUnreadableState: this binary cannot read the saved state.
var errUnreadableState = errors.New("cannot read the state of the running master: restart instead of reload")

// inheritState reads the state that the previous master has saved. It returns nil if
// there is no previous master. In a trial it also returns the file for the result.
func inheritState(environ []string) (saved *savedMaster, report *os.File, err error) {
	vars := variables(environ)
	if vars[envState] == "" {
		return nil, nil, nil
	}
	state, err := inheritFile(vars[envState])
	if err != nil {
		return nil, nil, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it", envState, vars[envState])
	}
	defer state.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.NewSectionReader(state, 0, maxState))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errUnreadableState, err)
	}
	saved = &savedMaster{}
	if err := json.Unmarshal(text, saved); err != nil || len(saved.Slots) == 0 {
		return nil, nil, errors.Join(errUnreadableState, err)
	}
	if vars[envTrial] != "" {
		if report, err = inheritFile(vars[envTrial]); err != nil {
			return nil, nil, fmt.Errorf("%s=%s is set, but this process was not started by a master: unset it", envTrial, vars[envTrial])
		}
	}
	return saved, report, nil
}

// maxState is the maximum size of a saved state in bytes. It is far more than any
// state needs.
const maxState = 64 << 20

// inheritFile opens an inherited descriptor, given as the value of an environment
// variable.
func inheritFile(number string) (*os.File, error) {
	fd, err := strconv.Atoi(number)
	if err != nil || fd < firstInheritedFD {
		return nil, errors.New("not a descriptor")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "inherited"), nil
}

// TestedConfig returns the configuration that the trial has read and the canaries
// run with. It returns nil if this process does not take over from a master. The
// caller must use this configuration and not read it from its source again, because the
// source may have changed since the test. environ is the environment in the form of
// os.Environ.
func TestedConfig(environ []string) []byte {
	vars := variables(environ)
	fd, err := strconv.Atoi(vars[envState])
	if err != nil || fd < firstInheritedFD || vars[envTrial] != "" {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size > maxState {
		return nil
	}
	text := make([]byte, st.Size)
	n, err := unix.Pread(fd, text, 0)
	saved := savedMaster{}
	if err != nil || json.Unmarshal(text[:max(n, 0)], &saved) != nil {
		return nil
	}
	return saved.Config
}

// Trial reports whether this process runs only to test whether it can take over from
// the running master. The test has passed when New and Trial return without an error:
// the configuration is valid and the state of the running master is readable. The
// caller then exits with status 0, and does not call Listen or Run. Trial returns an error
// if the result could not be sent to the running master.
func (m *Master) Trial() (bool, error) {
	if m.report == nil {
		return false, nil
	}
	_, err := m.report.Write(append([]byte(configMessage), m.opt.Config...))
	return true, err
}

// AppState returns what Options.AppState of the previous master returned. It is empty if
// this master has not taken over from another one.
func (m *Master) AppState() []byte { return m.appState }

// Resumed reports whether this master has taken over from another one, by a reload.
func (m *Master) Resumed() bool { return m.supervisor.release.number > 0 }

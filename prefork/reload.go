package prefork

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A reload, SIGHUP, goes through three gates, and what fails at one of them has
// changed nothing:
//
//	trial    the binary on disk is run as a master would be: it reads its
//	         configuration and the saved state, binds nothing, and hands back
//	         the configuration for its children
//	canary   one process of each role is started from it and must become ready
//	exec     the master executes the new binary in its own place, with the same
//	         PID, children and sockets (handover.go)
//
// The new master then replaces the processes one by one (turnover.go).
type reload struct {
	trial    *trial
	next     release
	binary   string   // identity of the file that was tried
	canary   *process // boots now
	untested []string // roles that have had no canary yet
}

// trial is a run of the new binary that takes nothing over.
type trial struct {
	recheck  bool // of the running release: was a SIGHUP missed?
	pid      int
	deadline time.Time
	report   *os.File // the configuration for its children
	errors   *os.File // what it said
	late     bool     // killed, since its time was over
}

// hup begins a reload, or another one behind that which is under way.
func (m *Master) hup() {
	if m.stopping != "" {
		return
	}
	if m.reload != nil {
		m.again = true
		return
	}
	m.again = false
	m.log.Info("reload: trying the new binary and configuration")
	m.notifier.reloading()
	if err := m.try(false); err != nil {
		m.failReload(err.Error())
	}
}

// recheck looks whether the configuration or the binary has changed while the
// master took over and could not hear a SIGHUP.
func (m *Master) recheck() {
	if err := m.try(true); err != nil {
		m.log.Warn("cannot see whether a reload was missed", "error", err)
		m.rechecked()
	}
}

// rechecked goes on when there is nothing more to be reloaded.
func (m *Master) rechecked() {
	m.reload = nil
	if m.again {
		m.hup()
		return
	}
	m.checkSettled()
}

// try starts the trial that a reload begins with.
func (m *Master) try(recheck bool) error {
	m.reload = &reload{binary: m.sys.identity(m.program)}
	if len(m.opt.Command) == 0 {
		return errors.New("the master does not know its command line")
	}
	state, err := m.save()
	if err != nil {
		return err
	}
	t, err := m.sys.try(trialCommand{program: m.program, args: m.opt.Command, env: m.masterEnviron(), state: state})
	if err != nil {
		return err
	}
	t.recheck, t.deadline = recheck, m.sys.now().Add(m.opt.BootTimeout)
	m.reload.trial = t
	return nil
}

// expireTrial kills a trial that takes longer than a child may take to boot.
func (m *Master) expireTrial(now time.Time) {
	if m.reload == nil || m.reload.trial == nil || m.reload.trial.late || now.Before(m.reload.trial.deadline) {
		return
	}
	m.reload.trial.late = true
	_ = m.sys.kill(m.reload.trial.pid, syscall.SIGKILL)
}

// tried takes the end of the trial.
func (m *Master) tried(status syscall.WaitStatus) {
	t := m.reload.trial
	m.reload.trial = nil
	said := strings.TrimSpace(string(contents(t.errors)))
	config, understood := bytes.CutPrefix(contents(t.report), []byte(configMessage))
	switch {
	case t.recheck && (status != 0 || !understood || m.reload.binary == m.binary && bytes.Equal(config, m.opt.Config)):
		m.rechecked()
	case t.late:
		m.failReload(fmt.Sprintf("%s is not done with its check within %v", m.program, m.opt.BootTimeout))
	case status != 0:
		m.failReload(strings.TrimSpace(fmt.Sprintf("%s: %s: %s", m.program, reason(status), said)))
	case !understood:
		m.failReload(strings.TrimSpace(fmt.Sprintf("%s does not know how to take over: %s", m.program, said)))
	default:
		m.reload.next = release{m.release + 1, m.program, config}
		for _, s := range m.slots.all {
			if !s.keep && !slices.Contains(m.reload.untested, s.role) {
				m.reload.untested = append(m.reload.untested, s.role)
			}
		}
		m.nextCanary()
	}
}

// nextCanary starts a process of the new release in a slot of each role in
// turn, beside the one that serves there; then it is time to hand over.
func (m *Master) nextCanary() {
	r := m.reload
	r.canary = nil
	for len(r.untested) > 0 {
		role := r.untested[0]
		r.untested = r.untested[1:]
		i := slices.IndexFunc(m.slots.all, func(s *slot) bool {
			return s.role == role && s.accepting() != nil && !s.retiring && len(s.leaving) < maxLeaving
		})
		if i < 0 {
			continue // nothing there that could get worse
		}
		s := m.slots.all[i]
		if s.next != nil { // of a reload before, which this one overtakes
			m.supervisor.leave(s.next, "superseded by another reload")
		}
		s.why = "reload"
		if err := m.supervisor.start(s, r.next); err != nil {
			m.replacementFailed(s, r.next.number, err.Error())
			return
		}
		r.canary = s.next
		return
	}
	m.handOver()
}

// replacementFailed takes the death of a slot's next process.
func (m *Master) replacementFailed(s *slot, release int, why string) {
	if m.reload != nil && m.reload.next.number != 0 && release == m.reload.next.number {
		m.failReload(fmt.Sprintf("%s of the new release: %s", s.name(), why))
	} else if m.rolling {
		m.setback = fmt.Sprintf("%s: %s", s.name(), why)
		m.notifyReady() // it will be tried again, but nobody should wait for it
	}
}

// failReload leaves everything as it was, and says why.
func (m *Master) failReload(why string) {
	m.failure = why
	m.refused++
	m.log.Error("reload failed, nothing is changed", "reason", why)
	m.dropReload()
	m.notifyReady()
	if m.again {
		m.hup()
	}
}

// dropReload ends what a reload has begun.
func (m *Master) dropReload() {
	r := m.reload
	m.reload = nil
	if r == nil {
		return
	}
	if r.trial != nil {
		_ = m.sys.kill(r.trial.pid, syscall.SIGKILL)
		_, _ = r.trial.report.Close(), r.trial.errors.Close()
	}
	for _, s := range m.slots.all {
		if s.next != nil && s.next.release == r.next.number && r.next.number != 0 {
			m.supervisor.leave(s.next, "reload failed")
		}
	}
}

// masterEnviron is the environment of the next master.
func (m *Master) masterEnviron() []string {
	return slices.DeleteFunc(slices.Clone(m.opt.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{envState, envTrial, envListenFDs, envListenPID, envListenNames}, name)
	})
}

// Trial reports whether this process is only to show whether it could take
// over from a running master: the configuration is sound, the state that is
// handed over is understood. The caller then returns, and binds nothing. The
// error is that of telling the running master so.
func (m *Master) Trial() (bool, error) {
	if m.report == nil {
		return false, nil
	}
	_, err := m.report.Write(append([]byte(configMessage), m.opt.Config...))
	return true, err
}

// Resumed reports whether this master has taken over from another one.
func (m *Master) Resumed() bool { return m.release > 0 }

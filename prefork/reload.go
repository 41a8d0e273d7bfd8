package prefork

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// reload is a reload that is under way. It has three stages. If one of them fails, the
// running release continues unchanged:
//
//	trial    The master runs the binary on disk as a second master. The second
//	         master reads its configuration and the saved state, binds no
//	         socket, and returns the configuration for its children.
//	canary   The master starts one process of each role from the new binary. Each
//	         must become ready.
//	exec     The master executes the new binary in its own process, with the same
//	         PID, children and sockets (handover.go).
//
// The new master then replaces the processes one by one (rollout.go).
type reload struct {
	trial         *trial   // nil: not running
	next          release  // the new release, after the trial
	binary        string   // identity of the tested binary
	canary        *process // canary that is starting; nil: none
	untestedRoles []string // roles that have had no canary yet
}

// trial is a test run of the new binary.
type trial struct {
	recheck  bool // true: the trial checks whether a SIGHUP was missed, see recheck
	pid      int
	deadline time.Time
	report   *os.File // result: the configuration for the children
	output   *os.File // stdout and stderr of the trial
	timedOut bool     // the trial was killed after the deadline
}

// reloader carries out reloads until the master executes the new binary.
type reloader struct {
	sys        *system
	log        *slog.Logger
	opt        *Options
	slots      *slotTable
	supervisor *supervisor
	notifier   *notifier
	host       reloadHost
	program    string // path of the binary that a reload executes

	current *reload // reload under way; nil: none
	pending bool    // another reload was requested while this one is under way
	tested  string  // identity of the binary that was tested before this master started
	failure string  // reason why the last reload failed; empty: it succeeded, or there was none
	refused int     // number of reloads that failed
}

// reloadHost are the methods of the master that the reloader needs.
type reloadHost interface {
	save() ([]byte, error)
	handOver()
	notifyReady()
	checkReady()
}

// Program returns the path of the binary that a reload executes. It is empty if reloads are
// refused, see Options.Command.
func (m *Master) Program() string { return m.reloader.program }

// active reports whether a reload is under way.
func (l *reloader) active() bool { return l.current != nil }

// isCanary reports whether a process is the canary that must become ready now.
func (l *reloader) isCanary(p *process) bool { return l.current != nil && p == l.current.canary }

// trial returns the running trial, or nil if there is none.
func (l *reloader) trial() *trial {
	if l.current == nil {
		return nil
	}
	return l.current.trial
}

// request starts a reload. If one is under way, another one follows it.
func (l *reloader) request() {
	if l.current != nil {
		l.pending = true
		return
	}
	l.pending = false
	l.log.Info("reload: trying the new binary and configuration")
	l.notifier.reloading()
	if err := l.startTrial(false); err != nil {
		l.fail(err.Error())
	}
}

// recheck is called after a reload. It starts another reload if one was requested before.
// Otherwise it starts a trial, which continues as another reload if the configuration or the
// binary has changed since the last trial: a SIGHUP may have been missed while the new
// binary started.
func (l *reloader) recheck() {
	if l.pending {
		l.request()
		return
	}
	if err := l.startTrial(true); err != nil {
		l.log.Warn("cannot check whether a SIGHUP was missed, send it again if the binary or configuration has changed", "error", err)
		l.finishRecheck()
	}
}

// finishRecheck ends a recheck that has found no change.
func (l *reloader) finishRecheck() {
	l.current = nil
	if l.pending {
		l.request()
		return
	}
	l.host.checkReady()
}

// startTrial starts the first stage of a reload.
func (l *reloader) startTrial(recheck bool) error {
	l.current = &reload{binary: l.sys.identity(l.program)}
	if len(l.opt.Command) == 0 {
		return errors.New("the command line of the master is unknown: restart instead of reload")
	}
	state, err := l.host.save()
	if err != nil {
		return err
	}
	t, err := l.sys.startTrial(trialCommand{program: l.program, args: l.opt.Command, env: nextEnviron(l.opt.Environ), state: state})
	if err != nil {
		return err
	}
	t.recheck, t.deadline = recheck, l.sys.now().Add(l.opt.BootTimeout)
	l.current.trial = t
	return nil
}

// nextDeadline returns the deadline of the trial, or zero if none is running.
func (l *reloader) nextDeadline() time.Time {
	if t := l.trial(); t != nil && !t.timedOut {
		return t.deadline
	}
	return time.Time{}
}

// expire kills the trial if it takes longer than Options.BootTimeout.
func (l *reloader) expire(now time.Time) {
	if t := l.trial(); t != nil && !t.timedOut && !now.Before(t.deadline) {
		t.timedOut = true
		_ = l.sys.kill(t.pid, syscall.SIGKILL)
	}
}

// handleExit handles the exit of the trial. It reports whether pid was the trial.
func (l *reloader) handleExit(pid int, status syscall.WaitStatus) bool {
	if t := l.trial(); t == nil || t.pid != pid {
		return false
	}
	l.finishTrial(status)
	return true
}

// finishTrial continues the reload after its trial, or ends it if the trial failed.
func (l *reloader) finishTrial(status syscall.WaitStatus) {
	t := l.current.trial
	l.current.trial = nil
	output := strings.TrimSpace(string(readMemfd(t.output)))
	config, ok := bytes.CutPrefix(readMemfd(t.report), []byte(configMessage))
	switch {
	case t.recheck && (status != 0 || !ok || l.current.binary == l.tested && bytes.Equal(config, l.opt.Config)):
		l.finishRecheck()
	case t.timedOut:
		l.fail(fmt.Sprintf("%s has not finished its trial run within %v", l.program, l.opt.BootTimeout))
	case status != 0:
		l.fail(strings.TrimSpace(fmt.Sprintf("%s: %s: %s", l.program, describeExit(status), output)))
	case !ok:
		l.fail(strings.TrimSpace(fmt.Sprintf("%s has not returned a configuration from its trial run: %s", l.program, output)))
	default:
		if t.recheck {
			l.log.Info("reload: the binary or configuration has changed during the last reload")
		}
		l.current.next = release{l.supervisor.release.number + 1, l.program, config}
		for _, s := range l.slots.all {
			if !s.keep && !slices.Contains(l.current.untestedRoles, s.role) && l.supervisor.configFor(s.role, config) != nil {
				l.current.untestedRoles = append(l.current.untestedRoles, s.role)
			}
		}
		l.nextCanary()
	}
}

// nextCanary starts the canary of the next role, as a successor of a live process.
// When all roles have been tested, the master executes the new binary.
func (l *reloader) nextCanary() {
	r := l.current
	r.canary = nil
	for len(r.untestedRoles) > 0 {
		role := r.untestedRoles[0]
		r.untestedRoles = r.untestedRoles[1:]
		i := slices.IndexFunc(l.slots.all, func(s *slot) bool {
			return s.role == role && s.liveProcess() != nil && !s.removing && len(s.leaving) < maxLeaving
		})
		if i < 0 {
			continue // the role has no live process that a canary could replace
		}
		s := l.slots.all[i]
		if s.next != nil { // a successor of an earlier release
			l.supervisor.drain(s.next, "replaced by a newer reload")
		}
		s.replaceReason = "reload"
		if err := l.supervisor.startRelease(s, r.next); err != nil {
			l.canaryFailed(s, err.Error())
			return
		}
		r.canary = s.next
		return
	}
	l.host.handOver()
}

// handleChildExit fails the reload if the process was a canary or another successor of
// the new release. It reports whether that was so.
func (l *reloader) handleChildExit(p *process, successor bool, why string) bool {
	r := l.current
	ofNewRelease := r != nil && successor && r.next.number != 0 && p.release == r.next.number
	if r == nil || p != r.canary && !ofNewRelease {
		return false
	}
	l.canaryFailed(p.slot, why)
	return true
}

func (l *reloader) canaryFailed(s *slot, why string) {
	l.fail(fmt.Sprintf("%s of the new release: %s", s.name(), why))
}

// fail ends the reload. The running release continues unchanged.
func (l *reloader) fail(why string) {
	l.failure = why
	l.refused++
	l.log.Error("reload failed, nothing is changed", "reason", why)
	l.cleanUp()
	l.host.notifyReady()
	if l.pending {
		l.request()
	}
}

// stop ends the reload under way, and drops a pending one.
func (l *reloader) stop() {
	l.pending = false
	l.cleanUp()
}

// cleanUp ends the processes that the reload has started.
func (l *reloader) cleanUp() {
	r := l.current
	l.current = nil
	if r == nil {
		return
	}
	if r.trial != nil {
		_ = l.sys.kill(r.trial.pid, syscall.SIGKILL)
		_, _ = r.trial.report.Close(), r.trial.output.Close()
	}
	for _, s := range l.slots.all {
		if s.next != nil && s.next.release == r.next.number && r.next.number != 0 {
			l.supervisor.drain(s.next, "reload failed")
		}
	}
}

// nextEnviron returns the environment for the next master.
func nextEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{envState, envTrial, envListenFDs, envListenPID, envListenNames}, name)
	})
}

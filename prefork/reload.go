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

// A reload, SIGHUP, has three stages. A failure in any of them changes nothing:
//
//	trial    the binary on disk is run as a master would be: it reads its
//	         configuration and the saved state, binds nothing, and returns
//	         the configuration for its children
//	canary   one process of each role is started from it and must become ready
//	exec     the master executes the new binary in its own place, with the same
//	         PID, children and sockets (handover.go)
//
// The new master then replaces the processes one by one (rollout.go).
type reload struct {
	trial         *trial
	next          release
	binary        string   // identity of the file that was tried
	canary        *process // boots now
	untestedRoles []string // roles that have had no canary yet
}

// trial is a run of the new binary that takes nothing over.
type trial struct {
	recheck  bool // looks for a SIGHUP that was missed
	pid      int
	deadline time.Time
	report   *os.File // the configuration for its children
	output   *os.File // its stdout and stderr
	timedOut bool     // killed after the deadline
}

// reloader carries out reloads up to the moment when the master executes itself.
type reloader struct {
	sys        *system
	log        *slog.Logger
	opt        *Options
	slots      *slotTable
	supervisor *supervisor
	notifier   *notifier
	host       reloadHost
	program    string // path of the binary that a reload executes

	current *reload // the one under way
	pending bool    // another one was requested meanwhile
	tested  string  // identity of the binary that this master was tried as
	failure string  // why the last one failed; empty: it did not
	refused int     // reloads that did not change anything
}

// reloadHost is what a reload needs of the master.
type reloadHost interface {
	save() ([]byte, error) // the state for the next master
	handOver()
	notifyReady()
	checkSettled()
}

// active reports whether a reload is under way.
func (l *reloader) active() bool { return l.current != nil }

// isCanary reports whether the reload waits for that process to become ready.
func (l *reloader) isCanary(p *process) bool { return l.current != nil && p == l.current.canary }

// trial is the trial that runs; nil if none does.
func (l *reloader) trial() *trial {
	if l.current == nil {
		return nil
	}
	return l.current.trial
}

// request begins a reload, or another one after the one under way.
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

// recheck begins a reload if one was requested before, or if the configuration
// or the binary has changed while the master took over and got no SIGHUP.
func (l *reloader) recheck() {
	if l.pending {
		l.request()
		return
	}
	if err := l.startTrial(true); err != nil {
		l.log.Warn("cannot check for a missed reload", "error", err)
		l.finishRecheck()
	}
}

// finishRecheck goes on when nothing has changed.
func (l *reloader) finishRecheck() {
	l.current = nil
	if l.pending {
		l.request()
		return
	}
	l.host.checkSettled()
}

// startTrial starts the trial that a reload begins with.
func (l *reloader) startTrial(recheck bool) error {
	l.current = &reload{binary: l.sys.identity(l.program)}
	if len(l.opt.Command) == 0 {
		return errors.New("the master does not know its command line")
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

// nextDeadline is when the trial has to be done; zero if none runs.
func (l *reloader) nextDeadline() time.Time {
	if t := l.trial(); t != nil && !t.timedOut {
		return t.deadline
	}
	return time.Time{}
}

// expire kills a trial that takes longer than a child may take to boot.
func (l *reloader) expire(now time.Time) {
	if t := l.trial(); t != nil && !t.timedOut && !now.Before(t.deadline) {
		t.timedOut = true
		_ = l.sys.kill(t.pid, syscall.SIGKILL)
	}
}

// handleExit takes the end of the trial, and reports whether the PID was that of the trial.
func (l *reloader) handleExit(pid int, status syscall.WaitStatus) bool {
	if t := l.trial(); t == nil || t.pid != pid {
		return false
	}
	l.finishTrial(status)
	return true
}

// finishTrial acts on the result of the trial.
func (l *reloader) finishTrial(status syscall.WaitStatus) {
	t := l.current.trial
	l.current.trial = nil
	said := strings.TrimSpace(string(readMemfd(t.output)))
	config, understood := bytes.CutPrefix(readMemfd(t.report), []byte(configMessage))
	switch {
	case t.recheck && (status != 0 || !understood || l.current.binary == l.tested && bytes.Equal(config, l.opt.Config)):
		l.finishRecheck()
	case t.timedOut:
		l.fail(fmt.Sprintf("%s has not finished its check within %v", l.program, l.opt.BootTimeout))
	case status != 0:
		l.fail(strings.TrimSpace(fmt.Sprintf("%s: %s: %s", l.program, describeExit(status), said)))
	case !understood:
		l.fail(strings.TrimSpace(fmt.Sprintf("%s cannot take over: %s", l.program, said)))
	default:
		l.current.next = release{l.supervisor.release.number + 1, l.program, config}
		for _, s := range l.slots.all {
			if !s.keep && !slices.Contains(l.current.untestedRoles, s.role) {
				l.current.untestedRoles = append(l.current.untestedRoles, s.role)
			}
		}
		l.nextCanary()
	}
}

// nextCanary starts a process of the new release in a slot of each role in
// turn, beside the live one; when all are ready, the master hands over.
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
			continue // no live process to test beside
		}
		s := l.slots.all[i]
		if s.next != nil { // of an earlier reload, which this one overtakes
			l.supervisor.drain(s.next, "superseded by another reload")
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

// handleChildExit fails the reload if the process was its canary, or a successor of
// its release, and reports whether that was so.
func (l *reloader) handleChildExit(p *process, successor bool, why string) bool {
	r := l.current
	follows := r != nil && successor && r.next.number != 0 && p.release == r.next.number
	if r == nil || p != r.canary && !follows {
		return false
	}
	l.canaryFailed(p.slot, why)
	return true
}

func (l *reloader) canaryFailed(s *slot, why string) {
	l.fail(fmt.Sprintf("%s of the new release: %s", s.name(), why))
}

// fail ends the reload; the running release goes on unchanged.
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

// stop ends the reload under way; no other one follows.
func (l *reloader) stop() {
	l.pending = false
	l.cleanUp()
}

// cleanUp ends what a reload has begun.
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

// nextEnviron is the environment of the next master.
func nextEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{envState, envTrial, envListenFDs, envListenPID, envListenNames}, name)
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func hupOften(ctx context.Context, b *bench) (result, error) {
	return underLoad(ctx, b, b.binary, nil, func(s *server, _ *load) ([]victim, error) {
		if err := s.awaitLive(); err != nil {
			return nil, err
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range 20 {
			s.signal(syscall.SIGHUP)
			<-tick.C
		}
		err := eventually("the last reload is done", func() bool { return s.count("msg=reloaded") >= 2 && s.reloaded() })
		if n := s.count("msg=reloaded"); err == nil && n < 10 {
			err = fmt.Errorf("%d reloads of 20", n)
		}
		return nil, err
	})
}

// reloaded reports whether the last reload is done.
func (s *server) reloaded() bool { return s.last("msg=reloaded") > s.last(`msg="reload: trying`) }

// last returns the last position of a text in the log.
func (s *server) last(text string) int {
	log, err := os.ReadFile(s.path("log"))
	if err != nil {
		return -1
	}
	return strings.LastIndex(string(log), text)
}

func upgrade(ctx context.Context, b *bench) (result, error) {
	binary, err := b.build(ctx, "upgraded", patch{"demo/demo.go", "friendly user!", "new user!"})
	if err != nil {
		return result{}, err
	}
	return underLoad(ctx, b, b.binary, nil, func(s *server, l *load) ([]victim, error) {
		if err := s.awaitLive(); err != nil {
			return nil, err
		}
		before, err := s.status()
		if err != nil {
			return nil, err
		}
		if err := s.install(binary); err != nil {
			return nil, err
		}
		s.signal(syscall.SIGHUP)
		if err := eventually("the reload is done", s.reloaded); err != nil {
			return nil, err
		}
		// The old children finish their requests. After that all responses are new.
		<-time.After(time.Second)
		l.takeResponses()
		<-time.After(time.Second)
		for response := range l.takeResponses() {
			if !strings.Contains(response, "new user!") {
				return nil, fmt.Errorf("response %q after the reload", response)
			}
		}
		after, err := s.status()
		if err == nil && (after.PID != before.PID || after.PID != s.cmd.Process.Pid) {
			err = fmt.Errorf("the master's PID was %d and is %d", before.PID, after.PID)
		}
		return nil, err
	})
}

func exitingBinary(ctx context.Context, b *bench) (result, error) {
	script := filepath.Join(b.dir, "exits")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho I cannot >&2\nexit 1\n"), 0o600); err != nil {
		return result{}, err
	}
	return refused(ctx, b, "exit status 1: I cannot", func(s *server) error { return s.install(script) })
}

func unreadyBinary(ctx context.Context, b *bench) (result, error) {
	binary, err := b.build(ctx, "unready", patch{
		"prefork/child.go", "func (c *Child) Ready() error {\n", "func (c *Child) Ready() error {\n\t<-time.After(time.Hour)\n",
	})
	if err != nil {
		return result{}, err
	}
	return refused(ctx, b, "not ready within 2s", func(s *server) error { return s.install(binary) })
}

func badConfig(ctx context.Context, b *bench) (result, error) {
	return refused(ctx, b, "unknown flag", func(s *server) error { return s.configure("log-level debug\nno-such-flag 1\n") })
}

// refused calls spoil, which makes the next reload fail, and reloads. The reload must fail
// with the reason and change nothing.
func refused(ctx context.Context, b *bench, reason string, spoil func(*server) error) (result, error) {
	return underLoad(ctx, b, b.binary, []string{"-boot-timeout", "2s"}, func(s *server, _ *load) ([]victim, error) {
		if err := s.awaitLive(); err != nil {
			return nil, err
		}
		before := s.pids()
		if err := spoil(s); err != nil {
			return nil, err
		}
		s.signal(syscall.SIGHUP)
		err := eventually("the reload fails", func() bool { return s.count("reload failed, nothing is changed") > 0 })
		if err != nil {
			return nil, err
		}
		<-time.After(time.Second)
		if !maps.Equal(before, s.pids()) {
			err = errors.New("children have changed")
		}
		if st, statusErr := s.status(); statusErr != nil || !strings.Contains(st.ReloadFailed, reason) {
			err = errors.Join(err, fmt.Errorf("/status: %q, %w", st.ReloadFailed, statusErr))
		}
		//nolint:gosec // the server under test
		out, statusErr := exec.CommandContext(ctx, b.binary, "status", "-admin", s.admin).CombinedOutput()
		if statusErr != nil || !strings.Contains(string(out), "reload failed: ") || !strings.Contains(string(out), reason) {
			err = errors.Join(err, fmt.Errorf("server status: %s, %w", out, statusErr))
		}
		return nil, err
	})
}

// pids returns the PIDs of the children by slot.
func (s *server) pids() map[string]int {
	pids := map[string]int{}
	st, err := s.status()
	if err != nil {
		return nil
	}
	for _, sl := range st.Slots {
		pids[sl.Slot] = sl.PID
	}
	return pids
}

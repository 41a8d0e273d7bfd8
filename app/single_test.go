package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// startSingle runs an application in this process until the test ends.
func startSingle(t *testing.T, a Application, args ...string) (log *testutil.LogBuffer, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &testutil.LogBuffer{}
	done := make(chan error, 1)
	args = append([]string{"x", "serve", "-single", "-port", "0", "-admin", "", "-workers", "0", "-data", filepath.Join(t.TempDir(), "data"), "-grace", "10s"}, args...)
	go func() { done <- Run(ctx, a, args, nil, log, log) }() // ends with ctx
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(testutil.Patience):
			return errors.New("the server does not end")
		}
	}
	return log, stop
}

// A part that fails or panics is started again in the same process.
func TestSinglePartFails(t *testing.T) {
	var starts atomic.Int64
	log, stop := startSingle(t, Application{Start: func(ctx context.Context, _ *Services) error {
		switch starts.Add(1) {
		case 1:
			return errors.New("the door is stuck")
		case 2:
			panic("the door is gone")
		}
		<-ctx.Done()
		return nil
	}})
	testutil.Eventually(t, "it is ready", func() bool { return strings.Contains(log.String(), "msg=ready") && starts.Load() == 3 })
	for _, want := range []string{"the door is stuck", "the door is gone"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A reload that is not possible changes nothing, and the log names the reason.
func TestSingleReloadRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level info\n")
	log, stop := startSingle(t, Application{Routes: func(*Services) ([]server.Route, error) {
		return nil, nil
	}}, "-config", file)
	testutil.Eventually(t, "it is ready", func() bool { return strings.Contains(log.String(), "msg=ready") })
	for text, want := range map[string]string{"log-level loud\n": "log-level", "host 127.0.0.2\n": "needs a new process", "nonsense 1\n": "unknown flag"} {
		write(text)
		before := strings.Count(log.String(), "reload failed, nothing is changed")
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "it is refused", func() bool { return strings.Count(log.String(), "reload failed, nothing is changed") > before })
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q: the log has no %q:\n%s", text, want, log)
		}
	}
	if strings.Contains(log.String(), "part replaced") {
		t.Errorf("a part was replaced:\n%s", log)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

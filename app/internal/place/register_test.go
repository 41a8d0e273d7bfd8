package place

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
)

func open(t *testing.T, url string) (*Register, *testutil.LogBuffer) {
	t.Helper()
	log := &testutil.LogBuffer{}
	r, err := Open(url, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Error(err)
		}
	})
	return r, log
}

// A worker is refused while a server has another place, and warned if such a server starts
// later. The entry of a server ends with it, or expires.
func TestRegister(t *testing.T) {
	db := redistest.Start(t)
	r, log := open(t, db.URL())
	here, there := Place{"1", "folder /a on one"}, Place{"2", "folder /b on two"}
	check := func(own Place, want string) {
		t.Helper()
		err := r.Check(t.Context(), own, []string{"inspect", "flac"})
		switch {
		case want == "" && err != nil, want != "" && err == nil:
			t.Errorf("%+v: %v", own, err)
		case want != "":
			for _, part := range []string{want, own.Text, "inspect, flac", "-files", "-upload-dir"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v lacks %q", err, part)
				}
			}
		}
	}
	check(here, "")
	ctx, stop := context.WithCancel(t.Context())
	var servers sync.WaitGroup
	serve := func(process string, p Place) {
		servers.Go(func() { // ends with ctx
			if err := r.Announce(ctx, process, p); err != nil {
				t.Error(err)
			}
		})
	}
	entries := func(n int64) {
		t.Helper()
		testutil.Eventually(t, "the entries are written", func() bool { return r.client.ZCard(t.Context(), key).Val() == n })
	}
	serve("a", here)
	serve("b", here)
	entries(2)
	check(here, "")
	check(there, here.Text)
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("log: %s", log)
	}
	serve("c", there)
	entries(3)
	check(here, there.Text)
	check(there, here.Text)
	check(Place{"3", "s3://c/d"}, here.Text)
	testutil.Eventually(t, "server c warns", func() bool {
		return strings.Contains(log.String(), warning) && strings.Contains(log.String(), here.Text)
	})
	servers.Go(func() { // ends with ctx
		if err := r.Watch(ctx, Place{"3", "the watcher"}); err != nil {
			t.Error(err)
		}
	})
	testutil.Eventually(t, "the watcher warns", func() bool { return strings.Contains(log.String(), "here=\"the watcher\"") })
	stop()
	servers.Wait()
	entries(0)
	check(there, "")

	now := float64(time.Now().Unix())
	for member, score := range map[string]float64{
		`{"process":"old","id":"1","text":"old"}`: now - 1, `{"process":"new","id":"1","text":"killed"}`: now + 50, `not JSON`: now + 50,
	} {
		if err := r.client.ZAdd(t.Context(), key, redis.Z{Score: score, Member: member}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check(there, "killed")
	entries(2)
}

// Without Redis a worker starts, with a warning.
func TestRegisterUnavailable(t *testing.T) {
	db := redistest.Start(t)
	r, log := open(t, db.URL())
	db.Kill()
	if err := r.Check(t.Context(), Place{"1", "x"}, []string{"inspect"}); err != nil || !strings.Contains(log.String(), "not compared") {
		t.Errorf("%v, log: %s", err, log)
	}
	if _, err := Open("nonsense", slog.Default()); err == nil {
		t.Error("an invalid address is accepted")
	}
}

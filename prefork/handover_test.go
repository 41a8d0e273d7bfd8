package prefork

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// environState returns the environment of a master that inherits a state.
func environState(t *testing.T, state string) []string {
	t.Helper()
	fd, err := newMemfd("state", []byte(state))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return []string{fmt.Sprintf("%s=%d", envState, fd)}
}

func TestUnreadableState(t *testing.T) {
	saved := func(change func(*savedMaster)) string {
		s := savedMaster{Layout: pageLayout, Address: "127.0.0.1:8888", Slots: []savedSlot{{Role: "serve", Listener: -1, Page: -1}}}
		change(&s)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, c := range map[string]struct {
		environ []string
		want    string
	}{
		"not a number":    {[]string{envState + "=x"}, "was not started by a master"},
		"descriptor 1":    {[]string{envState + "=1"}, "was not started by a master"},
		"not open":        {[]string{envState + "=9999"}, "was not started by a master"},
		"empty":           {environState(t, ""), "cannot read the state"},
		"not JSON":        {environState(t, "{"), "cannot read the state"},
		"no slots":        {environState(t, "{}"), "cannot read the state"},
		"another layout":  {environState(t, saved(func(s *savedMaster) { s.Layout++ })), "cannot read the state"},
		"another address": {environState(t, saved(func(s *savedMaster) { s.Address = "127.0.0.1:9999" })), "the address has changed"},
		"no such page":    {environState(t, saved(func(*savedMaster) {})), "take over serve.0"},
	} {
		_, err := New(Options{Roles: []Role{{Name: "serve", Slots: 1}}, Address: "127.0.0.1:8888", Environ: c.environ})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if c.want == "cannot read the state" && !errors.Is(err, errUnreadableState) {
			t.Errorf("%s: %v is not errUnreadableState", name, err)
		}
	}
}

// A master of another release reads the saved state, so its keys are fixed.
func TestSavedStateKeepsItsKeys(t *testing.T) {
	p := &savedProcess{}
	text, err := json.Marshal(savedMaster{
		RemovedStats: map[string]savedStats{"serve.7": {}},
		Slots:        []savedSlot{{Current: p, Next: p, Leaving: []*savedProcess{p}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	saved := object{}
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	slot := saved["Slots"].([]any)[0].(object)
	for name, c := range map[string]struct {
		got  object
		want string
	}{
		"master":       {saved, "Address Again AppState Aside Binary Bound Config Former Handed Instance Layout Refused Release Reloads Shared SharedMemory Slots Started"},
		"slot":         {slot, "Adopter Again Current Deaths Generation Hangs LastExit Leaving Listener Next Number Page Past Reports Restarts Retired Retiring Role"},
		"process":      {slot["Leaving"].([]any)[0].(object), "Booted Control Deadline Doom Enough Generation PID Quit Release Share Since State"},
		"removed slot": {saved["Former"].(object)["serve.7"].(object), "Accepted Adopted Generation Hangs Past Restarts Role Tally"},
	} {
		if keys := strings.Join(slices.Sorted(maps.Keys(c.got)), " "); keys != c.want {
			t.Errorf("%s has keys %q; want %q", name, keys, c.want)
		}
	}
}

package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
)

// SlotStatus is a slot in the response of GET /status.
type SlotStatus struct {
	Slot, Role, State string
	PID, Restarts     int
	RSS               int64
}

// Slots returns the slots in the response of GET /status by their names.
func (g *Server) Slots(t *testing.T) map[string]SlotStatus {
	t.Helper()
	var status struct{ Slots []SlotStatus }
	GetJSON(t, "http://"+g.Admin+"/status", &status)
	bySlot := map[string]SlotStatus{}
	for _, s := range status.Slots {
		bySlot[s.Slot] = s
	}
	return bySlot
}

// ServeSlotsReplaced reports whether serve.0 and serve.1 are live with other
// processes than before.
func (g *Server) ServeSlotsReplaced(t *testing.T, before map[string]SlotStatus) bool {
	t.Helper()
	_, status, err := Get("http://" + g.Admin + "/status")
	if err != nil || !strings.Contains(status, "serve.1") {
		return false
	}
	now := g.Slots(t)
	return now["serve.0"].PID != before["serve.0"].PID && now["serve.1"].PID != before["serve.1"].PID &&
		now["serve.0"].State == "live" && now["serve.1"].State == "live"
}

// AwaitReady waits until /readyz responds with a status, and returns the body.
func AwaitReady(t *testing.T, g *Server, want int) (body string) {
	t.Helper()
	testutil.Eventually(t, fmt.Sprint("/readyz is ", want), func() bool {
		code, text, err := Get("http://" + g.Admin + "/readyz")
		body = text
		return err == nil && code == want
	})
	return body
}

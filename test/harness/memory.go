package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Processes returns the ids of the master and of the processes of all slots.
func (g *Server) Processes(t *testing.T) []int {
	t.Helper()
	all := []int{g.Cmd.Process.Pid}
	for _, s := range g.Slots(t) {
		if s.PID > 0 {
			all = append(all, s.PID)
		}
	}
	return all
}

// Memory returns the proportional set size of all processes of the server, in bytes: pages
// that several of them share are counted once.
func (g *Server) Memory(t *testing.T) (bytes int64) {
	t.Helper()
	for _, pid := range g.Processes(t) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // the process has ended
		}
		for line := range strings.Lines(string(text)) {
			if size, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, err := strconv.ParseInt(strings.Fields(size)[0], 10, 64)
				if err != nil {
					t.Fatalf("/proc/%d/smaps_rollup: %v", pid, err)
				}
				bytes += kib << 10
			}
		}
	}
	return bytes
}

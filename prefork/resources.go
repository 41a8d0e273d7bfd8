package prefork

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// resourceLimits is a child's part of the CPUs and the memory that the server
// may use, as variables for its Go runtime, with a space between them.
//
// The processors are divided among the slots of its role, rounded up: roles
// work at different times. They are what the Go runtime found, which knows the
// CPU quota of the cgroup and the master's own GOMAXPROCS. Memory is divided
// among all slots, if there is a limit.
func (v *supervisor) resourceLimits(role string) string {
	n := max(v.slots.count(role), 1)
	share := fmt.Sprintf("GOMAXPROCS=%d", (v.sys.cpus()+n-1)/n)
	if limit := v.sys.memoryLimit(); limit > 0 {
		all := 0
		for _, role := range v.opt.Roles {
			all += v.slots.count(role.Name)
		}
		share += fmt.Sprintf(" GOMEMLIMIT=%d", limit/int64(max(all, 1)))
	}
	return share
}

func cpus() int { return runtime.GOMAXPROCS(0) }

// memoryLimit is the master's own GOMEMLIMIT, or nine tenths of what the cgroup
// allows: the rest is for what the Go runtime does not count. 0 is no limit.
func memoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	limit, err := memlimit.FromCgroup()
	if err != nil || limit > math.MaxInt64/2 { // none, or no cgroup
		return 0
	}
	return int64(limit) / 10 * 9
}

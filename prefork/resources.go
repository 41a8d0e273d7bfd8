package prefork

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// resourceLimits returns the environment variables that limit a child's Go runtime to
// its part of the CPUs and of the memory, separated by spaces.
//
// GOMAXPROCS: the CPUs that the server may use are divided among the slots of the role
// and rounded up. Roles do not share them, because roles are busy at different times.
// The Go runtime counts the CPUs; it considers the CPU quota of the cgroup and the
// master's own GOMAXPROCS.
//
// GOMEMLIMIT: the memory limit, if there is one, is divided among all slots.
func (v *supervisor) resourceLimits(role string) string {
	n := max(v.slots.count(role), 1)
	limits := fmt.Sprintf("GOMAXPROCS=%d", (v.sys.cpus()+n-1)/n)
	if limit := v.sys.memoryLimit(); limit > 0 {
		all := 0
		for _, role := range v.opt.Roles {
			all += v.slots.count(role.Name)
		}
		limits += fmt.Sprintf(" GOMEMLIMIT=%d", limit/int64(max(all, 1)))
	}
	return limits
}

func cpus() int { return runtime.GOMAXPROCS(0) }

// memoryLimit returns the master's own GOMEMLIMIT, else 90 % of the memory limit of the
// cgroup, in bytes. The rest is for memory that the Go runtime does not count. 0 means
// no limit.
func memoryLimit() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	limit, err := memlimit.FromCgroup()
	if err != nil || limit > math.MaxInt64/2 { // no limit, or no cgroup
		return 0
	}
	return int64(limit) / 10 * 9
}

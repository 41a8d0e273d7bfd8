package prefork

import (
	"cmp"
	"log/slog"
	"time"
)

// Default values of Options.
const (
	DefaultGrace       = 30 * time.Second
	DefaultBootTimeout = 30 * time.Second
	DefaultHangTimeout = 30 * time.Second
)

// Role is a group of slots whose processes do the same work.
type Role struct {
	// Name is a short word, such as serve or worker.
	Name string
	// Slots is the number of slots, and so of processes at the same time.
	Slots int
	// Listens gives each slot a listening socket on Options.Address.
	Listens bool
	// KeepOnReload excludes the role from reloads: its processes are not replaced.
	KeepOnReload bool
	// Optional: the server is ready without the processes of this role. The delay after
	// an unexpected exit is then not shortened while no slot of the role has a process.
	Optional bool
	// MaxRequests and MaxRSS replace those of Options for this role. Negative means
	// unlimited. Default: those of Options.
	MaxRequests, MaxRSS int64
}

// limited returns the role with the limits of o where it has none of its own.
func (r Role) limited(o Options) Role {
	r.MaxRequests = max(cmp.Or(r.MaxRequests, o.MaxRequests), 0)
	r.MaxRSS = max(cmp.Or(r.MaxRSS, o.MaxRSS), 0)
	return r
}

// Options configure a Master. The zero value of a field means the documented
// default.
type Options struct {
	// Roles are the roles and their numbers of slots. SIGTTIN adds a slot to the
	// first role, and SIGTTOU removes one. Required.
	Roles []Role
	// Command is the command line of this process, the program first. A reload
	// executes it again. Default: reloads are refused.
	Command []string
	// Address is the TCP address of the roles that listen, host:port. Default:
	// all addresses, and a port that the kernel chooses.
	Address string
	// Program is the name of the children in the output of ps, before the slot.
	// Default "server".
	Program string
	// Config is the configuration for the children, at most 128 KiB. The master
	// passes it to them unchanged, so that they use the configuration that the master has
	// checked, even if a file has changed since. Default: empty.
	Config []byte
	// ConfigFor returns the part of a configuration that children of a role get.
	// During a reload config is that of the new release; nil means that the new release
	// has no such role, so that it is not tested. Default: all of config.
	ConfigFor func(role string, config []byte) []byte
	// Environ is the environment of this process, in the form of os.Environ. Children
	// inherit it. The master reads from it whether systemd passed sockets, and the state of
	// the previous master after a reload. Default: empty.
	Environ []string
	// EnvironFor returns the part of Environ that children of a role inherit. It must
	// not change its argument. Default: all of Environ.
	EnvironFor func(role string, environ []string) []string
	// Grace is the time that a child has to finish its work after SIGTERM. Then it
	// gets SIGQUIT, which prints its goroutines, and 2 s later SIGKILL. Default 30 s.
	Grace time.Duration
	// BootTimeout is the time that a child has to become ready. A child that is not ready
	// by then is killed, and another one is started. Default 30 s.
	BootTimeout time.Duration
	// Backoff is the delay before the next process is started in a slot after an
	// unexpected exit.
	Backoff Backoff
	// HangTimeout is the time after which a child is killed and replaced if it sends
	// no heartbeat, or does not accept the connections in its accept queue. Default
	// 30 s. The master notices a missing heartbeat after 3 s, so a shorter HangTimeout
	// has the effect of 3 s for heartbeats. If it is negative, heartbeats are not
	// checked, and no child is killed because it hangs.
	HangTimeout time.Duration
	// MaxRequests is the number of requests after which a process is replaced. For each
	// process the master adds up to a tenth at random, so that the processes are not
	// replaced at the same time. Default: unlimited.
	MaxRequests int64
	// MaxRSS is the resident memory in bytes at which a process is replaced, checked once
	// a second. It includes Counters.ProgramMemory.
	// Default: unlimited.
	MaxRSS int64
	// MergeReports is called when a process has exited. It adds the last report of the
	// process to merged, the sum of the reports of earlier processes of the slot, and
	// returns the new sum. merged is nil for the first process. The goroutine of Run
	// calls MergeReports, so it must be quick. Default: the reports of processes that
	// have exited are dropped.
	MergeReports func(merged, last []byte) []byte
	// SharedMemory is the size in bytes of memory that the master and all its children share.
	// It is zero at first, and keeps its content when processes end and during a reload,
	// unless the size changes. Default: none.
	SharedMemory int
	// AppState returns the state of the application in the master, which the next program
	// of this process gets from Master.AppState after a reload. The goroutine of Run calls
	// it, at most twice for each reload, so it must be quick. The
	// state should be small, at most 1 MiB. Default: none.
	AppState func() []byte
	// Logger gets a record for every change of a slot. Default: no log.
	Logger *slog.Logger
}

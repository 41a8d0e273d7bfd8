package prefork

import (
	"log/slog"
	"time"
)

// Defaults of Options.
const (
	DefaultGrace       = 30 * time.Second
	DefaultBootTimeout = 30 * time.Second
	DefaultHangTimeout = 30 * time.Second
)

// Role is a kind of child.
type Role struct {
	Name string // a short word: serve, worker
	// Slots is how many processes of it run at once.
	Slots int
	// Listens gives each slot a listening socket on Options.Address.
	Listens bool
	// KeepOnReload makes reloads keep its processes.
	KeepOnReload bool
}

// Options configure a Master. The zero value of a field is its default.
type Options struct {
	// Roles are the kinds of children, and how many of each. SIGTTIN and
	// SIGTTOU add and remove slots of the first.
	Roles []Role
	// Command is the command line of this process, the program first; a reload
	// executes it again. Default: no reload.
	Command []string
	// Address is the TCP address of the roles that listen, host:port.
	Address string
	// Program is the name that children show in ps, before their slot.
	// Default "server".
	Program string
	// Config is handed to every child unchanged, so children run with what the
	// master has checked even if files change meanwhile. At most 128 KiB.
	Config []byte
	// ConfigFor, if it is set, returns the part of a configuration that children of
	// a role get; the configuration may be that of the next binary.
	ConfigFor func(role string, config []byte) []byte
	// Environ is what children inherit, in the form of os.Environ.
	Environ []string
	// Grace is how long a leaving child may finish its work; then it gets QUIT,
	// which prints its goroutines, and 2 s later KILL. Default 30 s.
	Grace time.Duration
	// BootTimeout is how long a child may take to become ready; then it is
	// killed and started again. Default 30 s.
	BootTimeout time.Duration
	Backoff     Backoff
	// HangTimeout is how long a child may send no heartbeat, or accept nothing
	// while connections wait, before it is killed and replaced. Default 30 s;
	// negative is never, and heartbeats are not checked.
	HangTimeout time.Duration
	// MaxRequests is the number of requests after which a process is replaced,
	// plus a random tenth at most. Default: unlimited.
	MaxRequests int64
	// MaxRSS is the resident memory in bytes at which a process is replaced.
	// Default: unlimited.
	MaxRSS int64
	// MergeReports adds the last report of a process that is gone to past, the sum of
	// &
	// nil at first. MergeReports is called by Run's goroutine and must be quick.
	// Default: such reports are dropped.
	MergeReports func(past, last []byte) []byte
	// Logger gets a record for every change of a slot. Default: none.
	Logger *slog.Logger
}

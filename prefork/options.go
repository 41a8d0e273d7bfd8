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
	// Keep lets a reload leave its processes alone.
	Keep bool
}

// Options configure a Master. The zero value of a field is its default.
type Options struct {
	// Roles are the kinds of children, and how many of each. SIGTTIN and
	// SIGTTOU add and remove slots of the first.
	Roles []Role
	// Command is the command line of this process, the program first: what a
	// reload executes again. Without it there is no reload.
	Command []string
	// Address is the TCP address of the roles that listen, host:port.
	Address string
	// Program is the name that children show in ps, before their slot.
	// Default "server".
	Program string
	// Config is handed to every child as it is: what the master has checked
	// is what children run with, whatever happens to files meanwhile. At most
	// 128 KiB.
	Config []byte
	// Environ is what children inherit, in the form of os.Environ.
	Environ []string
	// Grace is how long a leaving child may finish its work; then it is made to
	// print its goroutines and, 2 s later, killed. Default 30 s.
	Grace time.Duration
	// BootTimeout is how long a child may take to say that it is ready; then
	// it is killed and started again. Default 30 s.
	BootTimeout time.Duration
	Backoff     Backoff
	// HangTimeout is how long a child may show no life, no heartbeat or nothing
	// accepted while connections wait, before it is killed and replaced.
	// Default 30 s; negative is never, and heartbeats are not looked at.
	HangTimeout time.Duration
	// MaxRequests is after how many requests a process is replaced, up to a
	// tenth more, drawn for each. Default: never.
	MaxRequests int64
	// MaxRSS is the resident memory in bytes from which on a process is
	// replaced. Default: unlimited.
	MaxRSS int64
	// Merge adds the last report of a process that is gone to those of earlier
	// ones of its slot, past, which is nil at first, and returns the sum. It is
	// called by Run's goroutine and must be quick. Default: such reports are
	// forgotten.
	Merge func(past, last []byte) []byte
	// Logger gets a line for every change of a slot. Default: none.
	Logger *slog.Logger
}

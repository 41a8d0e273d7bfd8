package app

import (
	"context"
	"net"

	"github.com/galeserver/gale/prefork"
)

// process is the environment of a slot's work. It is implemented by *prefork.Child and,
// with -single, by *partRun.
type process interface {
	Slot() string
	// Owner is the name under which this process leases tasks.
	Owner() string
	// OnlyProcess reports whether the slot has no other running process. Leases of the same
	// owner are then left from a dead process.
	OnlyProcess() bool
	Listener() (net.Listener, error)
	Ready() error
	Counters() *prefork.Counters
	AppCounters() *prefork.AppCounters
	Report(text []byte) error
	MasterListener() net.Listener
}

// supervisor gives the admin endpoint access to the slots. It is implemented by
// *prefork.Master and, with -single, by *single.
type supervisor interface {
	Status(ctx context.Context) (prefork.Status, error)
	Stats(ctx context.Context) (prefork.Stats, error)
	Dial(ctx context.Context, slot string) (net.Conn, error)
	ListenPersistent(ctx context.Context, network, address string) (net.Listener, error)
	Resumed() bool
	Reload(ctx context.Context) error
	Stop(ctx context.Context) error
	Scale(ctx context.Context, slots map[string]int) error
}

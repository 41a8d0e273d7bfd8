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
	// Alone reports whether no other process of the slot is alive. Leases of the same
	// owner are then left from a dead process.
	Alone() bool
	Listener() (net.Listener, error)
	Ready() error
	Lane() *prefork.Lane
	Tally() *prefork.Tally
	Report(text []byte) error
	Visits() net.Listener
}

// supervisor gives the admin endpoint access to the slots. It is implemented by
// *prefork.Master and, with -single, by *single.
type supervisor interface {
	Status(ctx context.Context) (prefork.Status, error)
	Figures(ctx context.Context) (prefork.Overview, error)
	Visit(ctx context.Context, slot string) (net.Conn, error)
	ListenAside(ctx context.Context, network, address string) (net.Listener, error)
	Resumed() bool
}

package app

import (
	"context"
	"net"

	"github.com/galeserver/gale/prefork"
)

// process is what the work of a slot needs of the process that it runs in. It is a
// *prefork.Child, or with -single a part of this process.
type process interface {
	Slot() string
	// Owner holds the leases of tasks; Alone reports that no other process of the slot
	// lives, so what its owner holds is lost.
	Owner() string
	Alone() bool
	Listener() (net.Listener, error)
	Ready() error
	Lane() *prefork.Lane
	Tally() *prefork.Tally
	Report(text []byte) error
	Visits() net.Listener
}

// supervisor is what the admin endpoint asks about slots: a *prefork.Master, or with
// -single the one in this process.
type supervisor interface {
	Status(ctx context.Context) (prefork.Status, error)
	Figures(ctx context.Context) (prefork.Overview, error)
	Visit(ctx context.Context, slot string) (net.Conn, error)
	ListenAside(ctx context.Context, network, address string) (net.Listener, error)
	Resumed() bool
}

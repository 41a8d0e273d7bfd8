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
	// Owner holds the leases of tasks; OnlyProcess reports that no other process of the slot
	// lives, so what its owner holds is lost.
	Owner() string
	OnlyProcess() bool
	Listener() (net.Listener, error)
	Ready() error
	Counters() *prefork.Counters
	AppCounters() *prefork.AppCounters
	Report(text []byte) error
	MasterListener() net.Listener
}

// supervisor is what the admin endpoint asks about slots: a *prefork.Master, or with
// -single the one in this process.
type supervisor interface {
	Status(ctx context.Context) (prefork.Status, error)
	Stats(ctx context.Context) (prefork.Stats, error)
	Dial(ctx context.Context, slot string) (net.Conn, error)
	ListenPersistent(ctx context.Context, network, address string) (net.Listener, error)
	Resumed() bool
}

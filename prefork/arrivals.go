package prefork

import (
	"errors"
	"slices"

	"github.com/galeserver/gale/internal/epoll"
)

// arrivals wakes an idle master at the next connection, so that it need not look often.
type arrivals struct {
	sys       *system
	listeners []int           // those that are watched
	arrived   <-chan struct{} // receives once; nil while nothing is watched
	stop      func()
}

// begin watches listeners until end. If that fails, the master sees a connection when it
// checks next.
func (a *arrivals) begin(listeners []int) {
	if a.arrived != nil && slices.Equal(a.listeners, listeners) {
		return
	}
	a.end()
	if len(listeners) == 0 {
		return
	}
	if arrived, stop, err := a.sys.awaitConnection(listeners); err == nil {
		a.listeners, a.arrived, a.stop = listeners, arrived, stop
	}
}

func (a *arrivals) end() {
	if a.stop != nil {
		a.stop()
	}
	a.listeners, a.arrived, a.stop = nil, nil, nil
}

// awaitConnection waits with an epoll(7) set of its own, which only exists while the master is
// idle. In that of the Go runtime each connection of a busy server would wake the master.
func awaitConnection(listeners []int) (<-chan struct{}, func(), error) {
	set, err := epoll.Open()
	if err != nil {
		return nil, nil, err
	}
	for i, fd := range listeners {
		err = errors.Join(err, set.Watch(fd, epoll.Readable, uint64(i)))
	}
	if err != nil {
		return nil, nil, errors.Join(err, set.Close())
	}
	arrived := make(chan struct{}, 1)
	go func() { // ends when the set is closed
		_ = set.Run(func([]uint64) {
			select {
			case arrived <- struct{}{}:
			default:
			}
		})
	}()
	return arrived, func() { _ = set.Close() }, nil
}

package prefork

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Errors of Reload, Stop and Scale, besides those of Status.
var (
	// ErrStopping: the master is stopping, see Master.Run.
	ErrStopping = errors.New("master is stopping")
	// ErrScale: Scale cannot set the number of slots. The reason is in the text.
	ErrScale = errors.New("cannot scale")
)

// Reload requests a reload, as SIGHUP does, and does not wait for it. Status reports when it
// is over (Reloading), and whether it failed.
func (m *Master) Reload(ctx context.Context) error {
	return m.control(ctx, func() error { m.reloader.request(); return nil })
}

// Stop stops the master, as SIGTERM does, and does not wait until it has stopped. A second
// call returns ErrStopping and does not kill the children, unlike a second SIGTERM.
func (m *Master) Stop(ctx context.Context) error {
	return m.control(ctx, func() error { m.stop("stop requested"); return nil })
}

// Scale sets the number of slots of roles, by name, and does not wait for the processes. A
// role has at least one slot. The next reload restores the numbers of Options.Roles. An error
// wraps ErrScale. If a role is unknown or a number is not possible, nothing is changed; after
// any other error, some slots may have been added.
func (m *Master) Scale(ctx context.Context, slots map[string]int) error {
	return m.control(ctx, func() error {
		for name, n := range slots {
			i := slices.IndexFunc(m.opt.Roles, func(r Role) bool { return r.Name == name })
			switch {
			case i < 0 || m.opt.Roles[i].KeepOnReload:
				return fmt.Errorf("%w: there are no slots %q", ErrScale, name)
			case n < 1:
				return fmt.Errorf("%w: %s: the number must be at least 1", ErrScale, name)
			case m.resizer.sockets.fixedCount(m.opt.Roles[i]) && n != m.slots.count(name):
				return fmt.Errorf("%w: %s: systemd has opened one socket for each slot", ErrScale, name)
			}
		}
		for _, role := range m.opt.Roles {
			if n, ok := slots[role.Name]; ok {
				if err := m.resizer.scale(role, n); err != nil {
					return fmt.Errorf("%w: %s: %w", ErrScale, role.Name, err)
				}
			}
		}
		return nil
	})
}

// control runs f in the goroutine of Run, unless the master is stopping.
func (m *Master) control(ctx context.Context, f func() error) error {
	var err error
	if called := m.call(ctx, func() {
		if m.stopping != "" {
			err = ErrStopping
			return
		}
		err = f()
	}); called != nil {
		return called
	}
	return err
}

// scale adds and removes slots of a role until it has n.
func (r *resizer) scale(role Role, n int) error {
	for r.slots.count(role.Name) < n {
		if err := r.add(role, "scale"); err != nil {
			return err
		}
	}
	for r.slots.count(role.Name) > n {
		r.remove(r.slots.last(role.Name), "scale")
	}
	return nil
}

package prefork

import (
	"errors"
	"testing"
	"testing/synctest"
)

// Reload, Stop and Scale do what the signals do, and nothing once the master is stopping.
func TestControl(t *testing.T) {
	inBubble(t, 2, -1, func(t *testing.T, m *Master, f *fakeSystem) {
		f.controls[1] <- readyMessage
		f.controls[2] <- readyMessage
		synctest.Wait()
		role := m.opt.Roles[0].Name
		for _, slots := range []map[string]int{{role: 0}, {role: -1}, {"none": 1, role: 3}} {
			if err := m.Scale(t.Context(), slots); !errors.Is(err, ErrScale) {
				t.Errorf("%v: %v", slots, err)
			}
		}
		count := func() (n int) {
			s, err := m.Status(t.Context())
			if err != nil || s.Reloading || s.Stopping {
				t.Errorf("%+v, %v", s, err)
			}
			for _, slot := range s.Slots {
				if slot.State != StateLeaving && slot.State != StateStopped {
					n++
				}
			}
			return n
		}
		if n := count(); n != 2 {
			t.Errorf("%d slots after refused calls", n)
		}
		if err := m.Scale(t.Context(), map[string]int{role: 4}); err != nil || count() != 4 {
			t.Errorf("%d slots, %v", count(), err)
		}
		if err := m.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		s, err := m.Status(t.Context())
		if err != nil || s.Reloads+s.RefusedReloads == 0 && !s.Reloading {
			t.Errorf("%+v, %v", s, err)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if s, err := m.Status(t.Context()); err != nil || !s.Stopping {
			t.Errorf("%+v, %v", s, err)
		}
		_, before := f.recorded()
		for _, err := range []error{m.Stop(t.Context()), m.Reload(t.Context()), m.Scale(t.Context(), map[string]int{role: 1})} {
			if !errors.Is(err, ErrStopping) {
				t.Errorf("while stopping: %v", err)
			}
		}
		if _, kills := f.recorded(); len(kills) != len(before) {
			t.Errorf("signals after a second Stop: %q, before: %q", kills, before)
		}
	})
}

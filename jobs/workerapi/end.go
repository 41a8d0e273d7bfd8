package workerapi

import "context"

// End ends the session of a worker that has ended. If lost is true, the worker has died: its
// leases are lost, and one of its tasks may be the cause. Otherwise they are released. In
// both cases the tasks are due at once. End returns their number.
func (s *Service) End(ctx context.Context, session string, lost bool) (tasks int, err error) {
	if lost {
		tasks, err = s.store.Reclaim(ctx, session)
	} else {
		tasks, err = s.store.ReleaseOthers(ctx, session, nil)
	}
	if err != nil {
		return 0, err
	}
	s.drop(session)
	for _, kind := range []string{sessionKind, callKind} {
		if err := s.store.RemoveRecord(ctx, kind, session); err != nil {
			return tasks, err
		}
	}
	return tasks, nil
}

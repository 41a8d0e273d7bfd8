package schedule_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/schedule"
)

// takenOnce is a store that refuses one id.
type takenOnce struct {
	counting
	id string
}

func (s *takenOnce) Enqueue(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	if n.ID == s.id {
		return nil, false, driver.TakenError{ID: n.ID, Workflow: "somebody's"}
	}
	return s.counting.Enqueue(ctx, n)
}

// If a workflow uses the id of a scheduled task, only that occurrence is skipped.
func TestScheduleGoesOnAfterATakenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		every, err := schedule.Parse("@every 1h")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		store := &takenOnce{counting{accepted: map[string]int{}}, schedule.ID("tick", began.Add(time.Hour))}
		ctx, cancel := context.WithCancel(t.Context())
		s := schedule.New(&jobs.Client{Store: store}, nil, []schedule.Periodic{{Schedule: every, Task: jobs.NewTask{Name: "tick"}}}, nil)
		var ended sync.WaitGroup
		ended.Go(func() { _ = s.Run(ctx) }) // ends with ctx
		time.Sleep(2*time.Hour + time.Minute)
		cancel()
		ended.Wait()
		if id := schedule.ID("tick", began.Add(2*time.Hour)); store.accepted[id] != 1 {
			t.Errorf("accepted %v, not %s", store.accepted, id)
		}
	})
}

//go:build e2e

package tasks_test

import (
	"testing"
	"time"
)

// TestE2EScheduleOfThirtySeconds is what TestScheduleSurvivesAServer shows, for
// longer: a schedule of every second on two servers, one of which is killed.
func TestE2EScheduleOfThirtySeconds(t *testing.T) {
	scheduleSurvives(t, 30*time.Second)
}

//go:build e2e

package tasks_test

import (
	"testing"
	"time"
)

// TestE2EScheduleOfThirtySeconds is TestScheduleSurvivesServer for a longer time.
func TestE2EScheduleOfThirtySeconds(t *testing.T) {
	scheduleSurvives(t, 30*time.Second)
}

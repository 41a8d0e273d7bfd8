package driver

import (
	"fmt"

	"github.com/galeserver/gale/internal/utf8text"
)

// Values of Task.Error in the state jobs.StateCancelled.
const (
	// CancelReason: the task was cancelled by Cancel.
	CancelReason = "cancelled"
	// AbortReason: the task was cancelled by CancelWorkflow.
	AbortReason = "cancelled with its workflow"
	// ExpiredReason: no attempt had started before NewTask.Expires.
	ExpiredReason = "expired before it started"
	// PurgedReason: the task was cancelled by Purge.
	PurgedReason = "purged"
)

// LostReason is the Error of a task whose lease was lost too often.
func LostReason(times int) string {
	return fmt.Sprintf("lease lost %d times: the task may crash or block its worker", times)
}

// GroupReason cuts the error of the first failed member to the size that a group stores,
// MaxReason. The text of ChordError with this error in it still fits into a Failure.
func GroupReason(reason string) string { return utf8text.Cut(reason, MaxReason) }

// ChordError is the Error of a callback that cannot run because a member failed.
func ChordError(member, reason string) string {
	if reason == "" {
		return "member " + member + " of the group did not succeed"
	}
	return "member " + member + " of the group did not succeed: " + reason
}

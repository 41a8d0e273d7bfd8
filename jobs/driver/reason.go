package driver

import (
	"fmt"

	"github.com/galeserver/gale/internal/utf8text"
)

// Why a task is Cancelled.
const (
	// CancelReason is the Error of a task that was cancelled.
	CancelReason = "cancelled"
	// AbortReason is the Error of a task whose workflow was cancelled.
	AbortReason = "cancelled with its workflow"
	// ExpiredReason is the Error of a task that was not begun in time.
	ExpiredReason = "expired before it was begun"
	// PurgedReason is the Error of a task that was purged.
	PurgedReason = "purged"
)

// LostReason is the Error of a task that was lost too often.
func LostReason(times int) string { return fmt.Sprintf("took its worker down %d times", times) }

// GroupReason is what a group keeps of the error of its first member that did
// not succeed. With ChordError around it, it still fits into a Failure.
func GroupReason(reason string) string { return utf8text.Cut(reason, MaxReason) }

// ChordError is the Error of a callback that will never run.
func ChordError(member, reason string) string {
	if reason == "" {
		return "member " + member + " of the group did not succeed"
	}
	return "member " + member + " of the group did not succeed: " + reason
}

package driver

import (
	"cmp"
	"fmt"

	"github.com/galeserver/gale/jobs"
)

// StateError is the error of a change that the state of a task or workflow does not
// allow. It wraps jobs.ErrState, and its text is for users.
type StateError string

func (e StateError) Error() string { return string(e) }

// Unwrap returns jobs.ErrState.
func (StateError) Unwrap() error { return jobs.ErrState }

// ErrWorkflowEnded is the error of CancelWorkflow for a workflow that has ended.
const ErrWorkflowEnded = StateError("workflow has ended: none of its tasks waits or runs")

// TakenError is the error of Enqueue and EnqueueGroup for an id that is in use or
// reserved. It wraps jobs.ErrTaken, and its text is for users.
type TakenError struct {
	ID string
	// Workflow is the id of the workflow that uses or has reserved ID; empty if ID
	// belongs to a task outside of any workflow.
	Workflow string
}

func (e TakenError) Error() string {
	switch e.Workflow {
	case "":
		return fmt.Sprintf("id %q is taken by another task", e.ID)
	case e.ID:
		return fmt.Sprintf("id %q is taken by another workflow", e.ID)
	}
	return fmt.Sprintf("id %q belongs to workflow %q", e.ID, e.Workflow)
}

// Unwrap returns jobs.ErrTaken.
func (TakenError) Unwrap() error { return jobs.ErrTaken }

// CheckSameTask compares n with the stored task that has its id. It returns a TakenError if
// n starts a workflow and the stored task starts a different one or none, else nil. Older
// versions stored tasks without digests; such a task is not compared.
func CheckSameTask(n jobs.NewTask, stored *jobs.Task) error {
	old := stored.Digest == "" && len(stored.Signature) > 0 && stored.WorkflowID() == ""
	if n.Digest == "" || n.Digest == stored.Digest || n.ID != stored.ID || old {
		return nil
	}
	return TakenError{stored.ID, stored.WorkflowID()}
}

// CheckSameGroup returns a TakenError if g differs from the group that is stored with its
// id, else nil. stored is the digest of the stored group.
func CheckSameGroup(g jobs.NewGroup, stored string) error {
	if g.Digest == "" || stored == "" || g.Digest == stored {
		return nil
	}
	return TakenError{g.ID, g.ID}
}

// CheckCancelWorkflow returns nil if t is the first task of a chain or a single task, which
// CancelWorkflow may cancel. If t is another part of a workflow, it returns a StateError.
func CheckCancelWorkflow(t *jobs.Task) error {
	if part := t.WorkflowID(); part != "" && part != t.ID {
		return PartOf(part)
	}
	return nil
}

// PartOf is the error of CancelWorkflow for a task or group that is part of a workflow.
func PartOf(workflow string) StateError {
	return StateError(fmt.Sprintf("it is part of workflow %q", workflow))
}

// CheckRequeue returns nil if Requeue may make t due again, else a StateError.
func CheckRequeue(t *jobs.Task) error {
	switch {
	case t.State != jobs.StateFailed && t.State != jobs.StateCancelled && t.State != jobs.StateDead:
		return StateError("task is " + string(t.State) + "; only failed, cancelled and dead tasks can be retried")
	case t.Aborted:
		return StateError(fmt.Sprintf("workflow %q was cancelled; its tasks cannot be retried", cmp.Or(t.WorkflowID(), t.ID)))
	case t.Group != "":
		return StateError("task is a member of group " + t.Group + ", which has counted its result already; members cannot be retried")
	case t.State == jobs.StateFailed && t.Attempts == 0:
		return StateError("task never started, because a member of its group failed; it cannot be retried")
	}
	return nil
}

// EndedError is the error of Cancel for a task that has ended in another state.
func EndedError(t *jobs.Task) error {
	return StateError("task has already ended; its state is " + string(t.State))
}

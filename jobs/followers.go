package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// maxFollowers is the largest number of reserved ids in one workflow.
const maxFollowers = 1000

// Followers returns the ids of all tasks that may follow the tasks of g.
func (g NewGroup) Followers() []string {
	var all []string
	for _, n := range g.Members {
		all = append(all, n.Followers...)
	}
	if g.Callback != nil {
		all = append(all, g.Callback.Followers...)
	}
	return all
}

// IDs returns all ids that a group uses or reserves: its own, its members', its
// callback's, and those of Followers.
func (g NewGroup) IDs() []string {
	all := []string{g.ID}
	for _, n := range g.Members {
		all = append(all, n.ID)
	}
	if g.Callback != nil {
		all = append(all, g.Callback.ID)
	}
	return append(all, g.Followers()...)
}

// checkIDs returns an error that names the first id that is invalid or occurs twice.
func checkIDs(ids []string) error {
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if !ValidID(id) {
			return idError("task", id)
		}
		if seen[id] {
			return fmt.Errorf("%w: id %q is used twice in the workflow", ErrOption, id)
		}
		seen[id] = true
	}
	return nil
}

// followerIDs returns the ids of all tasks nested in a message, at any depth. A nested
// task without an id gets a random one.
func followerIDs(s *message) ([]string, error) {
	var all []string
	for _, next := range s.nested() {
		switch {
		case next == nil:
			return nil, fmt.Errorf("%w: a task that follows %s is null", ErrOption, s.Name)
		case next.ChordCallback != nil || next.GroupUUID != "":
			return nil, fmt.Errorf("%s after %s: a task of a group cannot follow a task: %w", next.Name, s.Name, errors.ErrUnsupported)
		case next.UUID == "":
			next.UUID = NewID()
		}
		deeper, err := followerIDs(next)
		if err != nil {
			return nil, err
		}
		if all = append(append(all, next.UUID), deeper...); len(all) > maxFollowers {
			return nil, fmt.Errorf("%w: more than %d tasks follow task %s", ErrOption, maxFollowers, s.Name)
		}
	}
	return all, nil
}

// FollowerIDs returns the ids of the tasks that may follow t. Older versions stored tasks
// without Followers; for these tasks the ids are read from Signature.
func (t *Task) FollowerIDs() []string {
	if len(t.Followers) > 0 || len(t.Signature) == 0 {
		return t.Followers
	}
	s, err := messageOf(t)
	if err != nil {
		return nil // the worker will refuse the task, so nothing follows
	}
	ids, err := followerIDs(s)
	if err != nil {
		return nil
	}
	return ids
}

// digest identifies a workflow. It is computed before random ids are set, so that the
// same workflow has the same digest when it is sent again.
func digest(workflow any) (string, error) {
	text, err := json.Marshal(workflow)
	if err != nil {
		return "", fmt.Errorf("encode workflow: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// withoutTimes returns the task without RunAt and Expires: if the caller computed them
// from a duration, they differ when the same task is sent again.
func (n NewTask) withoutTimes() NewTask {
	n.RunAt, n.Expires = NewTask{}.RunAt, NewTask{}.Expires
	return n
}

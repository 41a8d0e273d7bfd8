package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// maxFollowers is how many tasks may follow others in one workflow.
const maxFollowers = 1000

// Followers are the ids of all tasks that may follow those of g.
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

// IDs are those that a group takes or reserves: its own, its members', its
// callback's, and those of all that follow.
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

// distinct returns an error that names an id if one is not valid or is there twice.
func distinct(ids []string) error {
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if !ValidID(id) {
			return invalidID("task", id)
		}
		if seen[id] {
			return fmt.Errorf("%w: id %q is in the workflow twice", ErrOption, id)
		}
		seen[id] = true
	}
	return nil
}

// follow returns the ids of the tasks that a message carries, however deep. It
// gives an id to those that have none.
func follow(s *message) ([]string, error) {
	var all []string
	for _, next := range slices.Concat(s.OnSuccess, s.OnError) {
		switch {
		case next == nil:
			return nil, fmt.Errorf("%w: a task after %s is missing", ErrOption, s.Name)
		case next.ChordCallback != nil || next.GroupUUID != "":
			return nil, fmt.Errorf("%s after %s: a member of a group cannot follow a task: %w", next.Name, s.Name, errors.ErrUnsupported)
		case next.UUID == "":
			next.UUID = NewID()
		}
		deeper, err := follow(next)
		if err != nil {
			return nil, err
		}
		if all = append(append(all, next.UUID), deeper...); len(all) > maxFollowers {
			return nil, fmt.Errorf("%w: more than %d tasks follow %s", ErrOption, maxFollowers, s.Name)
		}
	}
	return all, nil
}

// Possible are the ids of the tasks that may follow t, whenever it was accepted:
// before there were Followers only the message had them.
func (t *Task) Possible() []string {
	if len(t.Followers) > 0 || len(t.Signature) == 0 {
		return t.Followers
	}
	s, err := messageOf(t)
	if err != nil {
		return nil // the worker refuses it, and nothing follows
	}
	ids, err := follow(s)
	if err != nil {
		return nil
	}
	return ids
}

// digest tells one workflow from another. It is made of what the caller gave, not
// of ids that were drawn, so that the same one has it again.
func digest(workflow any) (string, error) {
	text, err := json.Marshal(workflow)
	if err != nil {
		return "", fmt.Errorf("encode workflow: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// timeless is a task without its times: those that were given as a duration are
// others each time.
func (n NewTask) timeless() NewTask {
	n.RunAt, n.Expires = NewTask{}.RunAt, NewTask{}.Expires
	return n
}

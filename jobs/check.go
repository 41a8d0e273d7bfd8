package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
)

// Check returns an error if the task breaks a rule that all stores rely on. Every Store
// calls it before it accepts a task. The error does not wrap ErrUnavailable, because the
// caller made the mistake.
func (n NewTask) Check() error {
	switch {
	case !ValidID(n.ID):
		return fmt.Errorf("task id %q is not valid", n.ID)
	case n.Name == "":
		return fmt.Errorf("task %s has no name", n.ID)
	case n.Args != nil && !utf8text.ValidJSON(n.Args):
		return fmt.Errorf("arguments of task %s are not JSON in UTF-8", n.ID)
	case n.Kwargs != nil && !isObject(n.Kwargs):
		return fmt.Errorf("keyword arguments of task %s are not a JSON object in UTF-8", n.ID)
	case n.Headers != nil && !isObject(n.Headers):
		return fmt.Errorf("headers of task %s are not a JSON object in UTF-8", n.ID)
	case len(n.Link)+len(n.LinkError) > 0:
		return fmt.Errorf("task %s has links; only a Client accepts them", n.ID)
	case len(n.Followers) > maxFollowers:
		return fmt.Errorf("task %s: %w: more than %d tasks follow it", n.ID, ErrOption, maxFollowers)
	case (n.Unique == "") != (n.UniqueFor < time.Millisecond):
		return fmt.Errorf("task %s: Unique needs a UniqueFor of at least 1ms, and UniqueFor needs Unique", n.ID)
	case len(n.Followers) > 0:
		return checkIDs(append([]string{n.ID}, n.Followers...))
	}
	return nil
}

// Check is NewTask.Check for all tasks of the group. It also returns an error if two
// ids of the group are equal.
func (g NewGroup) Check() error {
	if !ValidID(g.ID) {
		return fmt.Errorf("group id %q is not valid", g.ID)
	}
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return fmt.Errorf("group %s has %d members; a group has 1 to %d", g.ID, n, MaxMembers)
	}
	all := g.Members
	if g.Callback != nil {
		var args []json.RawMessage
		if g.Callback.Args != nil && json.Unmarshal(g.Callback.Args, &args) != nil {
			return fmt.Errorf("arguments of callback %s are not a JSON array", g.Callback.ID)
		}
		all = append(all[:len(all):len(all)], *g.Callback)
	}
	for _, n := range all {
		if err := n.Check(); err != nil {
			return fmt.Errorf("group %s: %w", g.ID, err)
		}
		if n.Unique != "" {
			return fmt.Errorf("group %s: task %s cannot be unique", g.ID, n.ID)
		}
	}
	if len(g.Followers()) > maxFollowers {
		return fmt.Errorf("group %s: %w: more than %d tasks follow its members", g.ID, ErrOption, maxFollowers)
	}
	return checkIDs(g.IDs())
}

// isObject reports whether text is a JSON object in UTF-8.
func isObject(text json.RawMessage) bool {
	return utf8text.ValidJSON(text) && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

// JoinResults returns the arguments of a task together with the results of the tasks before
// it, as how says. An empty result becomes null.
func (n NewTask) JoinResults(how Results, results []json.RawMessage) (json.RawMessage, error) {
	var given []json.RawMessage
	if len(n.Args) > 0 {
		if err := json.Unmarshal(n.Args, &given); err != nil {
			return nil, fmt.Errorf("append results to the arguments of task %s: %w", n.ID, err)
		}
	}
	results = slices.Clone(results)
	for i, r := range results {
		if len(r) == 0 {
			results[i] = json.RawMessage("null")
		}
	}
	all := []json.RawMessage{}
	switch how {
	case ResultsPrepend:
		all = append(append(all, results...), given...)
	case ResultsList:
		list, err := json.Marshal(slices.Concat([]json.RawMessage{}, results))
		if err != nil {
			return nil, fmt.Errorf("join the results for task %s: %w", n.ID, err)
		}
		all = append(append(all, list), given...)
	default:
		all = append(append(all, given...), results...)
	}
	return json.Marshal(all)
}

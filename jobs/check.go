package jobs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
)

// Check refuses what a store could keep but never show or name: the caller's
// fault, so not ErrUnavailable. Every Store calls it.
func (n NewTask) Check() error {
	switch {
	case !ValidID(n.ID):
		return fmt.Errorf("task id %q is not valid", n.ID)
	case n.Name == "":
		return fmt.Errorf("task %s has no name", n.ID)
	case n.Args != nil && !utf8text.ValidJSON(n.Args):
		return fmt.Errorf("arguments of task %s are not JSON in UTF-8", n.ID)
	case len(n.Kwargs) > 0:
		return fmt.Errorf("task %s has keywords, which a client puts in their places", n.ID)
	case len(n.Followers) > maxFollowers:
		return fmt.Errorf("task %s: %w: more than %d tasks follow", n.ID, ErrOption, maxFollowers)
	case (n.Unique == "") != (n.UniqueFor < time.Millisecond):
		return fmt.Errorf("task %s: a unique task has a key and a time of at least a millisecond", n.ID)
	case len(n.Followers) > 0:
		return distinct(append([]string{n.ID}, n.Followers...))
	}
	return nil
}

// Check is NewTask.Check for all tasks of the group. All of its ids must differ.
func (g NewGroup) Check() error {
	if !ValidID(g.ID) {
		return fmt.Errorf("group id %q is not valid", g.ID)
	}
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return fmt.Errorf("group %s has %d members, not 1 to %d", g.ID, n, MaxMembers)
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
	return distinct(g.IDs())
}

// JoinResults returns the arguments of a callback with results behind them. A
// result that is empty is null.
func (n NewTask) JoinResults(results []json.RawMessage) (json.RawMessage, error) {
	var given []json.RawMessage
	if len(n.Args) > 0 {
		if err := json.Unmarshal(n.Args, &given); err != nil {
			return nil, fmt.Errorf("pass results on: %w", err)
		}
	}
	all := slices.Concat(given, results)
	for i, r := range all {
		if len(r) == 0 {
			all[i] = json.RawMessage("null")
		}
	}
	if all == nil {
		all = []json.RawMessage{}
	}
	return json.Marshal(all)
}

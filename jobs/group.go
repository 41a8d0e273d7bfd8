package jobs

import "time"

// MaxMembers is how many tasks a group may have: they are accepted in one
// step, which the whole store waits for.
const MaxMembers = 1000

// NewGroup is tasks that are accepted together, all or none, and whose ends
// are counted. With a Callback it is what Celery and machinery call a chord.
type NewGroup struct {
	ID      string
	Members []NewTask
	// Callback is accepted in the step in which the last member ends, once and
	// only if all of them succeeded. As soon as one ends otherwise, the callback
	// is there as a failed task whose Error names that member.
	Callback *NewTask
	// Immutable leaves the callback's arguments as they are. Otherwise the
	// members' results follow them, in the order of the members; a member
	// without a result gives null.
	Immutable bool
	// Digest, if there is one, tells the group from others with its ID.
	Digest string
}

// Group is how far a group is.
type Group struct {
	ID        string   `json:"id"`
	Members   []string `json:"members"`  // their ids
	Callback  string   `json:"callback"` // its id, empty if there is none
	Succeeded int      `json:"succeeded"`
	Failed    int      `json:"failed"` // ended in any other way
	// FailedMember is the first of these, and Error what it says.
	FailedMember string `json:"failed_member"`
	Error        string `json:"error"`
	// Aborted: the group was cancelled as a whole.
	Aborted  bool       `json:"-"`
	Created  time.Time  `json:"created"`
	Finished *time.Time `json:"finished"` // when the last member ended
}

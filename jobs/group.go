package jobs

import "time"

// MaxMembers is the largest number of tasks in a group. It is limited because the store
// accepts no other tasks while it stores the group.
const MaxMembers = 1000

// NewGroup is a group of tasks to enqueue with Client.EnqueueGroup: all are accepted or
// none. With a Callback it is a chord, in Celery's and machinery's terms.
type NewGroup struct {
	ID      string // default random
	Members []NewTask
	// Callback is the task to enqueue after all members have succeeded. It is enqueued
	// once, in the step in which the last member ends. As soon as a member ends in
	// another state, the callback is stored as a failed task whose Error names that
	// member.
	Callback *NewTask
	// Immutable is true if the arguments of Callback stay as they are. Otherwise they get the
	// results of the members, in the order of Members, as Results says. The result of a
	// member without one is null.
	Immutable bool
	// Results says where Callback gets the results. Default: ResultsAppend.
	Results Results `json:",omitempty"`
	// Digest identifies the content of the group: a group with the same ID and another
	// Digest is refused. Client.EnqueueGroup sets it.
	Digest string
}

// Group is the status of a group of tasks.
type Group struct {
	ID        string   `json:"id"`
	Members   []string `json:"members"`   // ids of the members
	Callback  string   `json:"callback"`  // id of the callback; empty if there is none
	Succeeded int      `json:"succeeded"` // number of members that ended as success
	Failed    int      `json:"failed"`    // number of members that ended in another state
	// FailedMember is the id of the first member that failed, and Error its error.
	FailedMember string `json:"failed_member"`
	Error        string `json:"error"`
	// Aborted is true if CancelWorkflow has cancelled the group.
	Aborted  bool       `json:"-"`
	Created  time.Time  `json:"created"`
	Finished *time.Time `json:"finished"` // time at which the last member ended
}

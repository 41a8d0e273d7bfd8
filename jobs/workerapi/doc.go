// Package workerapi is the server side of the worker protocol, by which programs in any
// language run tasks. It knows nothing of HTTP: each request is a method of Service, and
// the routes under /workers only decode and encode.
//
//	Announce → session                 the tasks of the program, kept for seven days
//	Lease    → leases                  waits until a task is due
//	Extend   → lost, cancelled         prolongs leases, then waits
//	Finish, Release, Progress, Log     results for each lease
//	CreateArtifact                     a file of a task
//
// A lease id is opaque to workers. It contains the session, which is the owner of the
// lease, the attempt and the task, so any process of any machine on the same task store
// can serve any call. Every call may be repeated after a lost response: a repeated Finish
// or Release gets the first result again, and the next Lease releases the leases of a lost
// response.
//
// What processes share is in the task store, as records (driver.Keeper): sessions, the last
// lease call of each session, and announcements.
package workerapi

// Package jobs runs long tasks in worker processes. An accepted task is never lost.
//
// A Client hands tasks to a Store, which writes them to disk before it accepts them.
// Workers lease tasks from the store and extend their leases with heartbeats. If a
// worker is killed, hangs or is cut off, its leases expire and other workers run its
// tasks. Each attempt has a number. The store accepts reports from the current attempt
// only.
//
//	Client.Enqueue ──► Store ──Lease──► Worker ──► machinery ──► Handler
//	                     ▲                │                         │
//	                     │   Extend       │ heartbeat               │ Progress
//	                     └── Finish ──────┴─────────────────────────┘
//
// A task can therefore run more than once; write handlers so that this is harmless.
//
// # Terms
//
// For users of Celery: a Definition is a task of the application, made with
// Define, Function or by hand. A Registry is the set of all of them. A Task is one
// call, with a State and a result; its Handler gets a Job, as a bound Celery task gets
// self. Client.Enqueue is apply_async, Client.Wait is AsyncResult.get. A Link is a
// signature in a chain; a NewGroup is a group, or a chord if it has a Callback.
//
// Changes that a store makes "in one step" are atomic: after a crash, the store has all of
// them or none.
//
// # States
//
//	scheduled ──eta──► queued ──Lease──► running ──Finish──► success
//	                     ▲                │  │ └───────────► failed, cancelled
//	                     │   lease lost   │  └─► retrying ──due──► running
//	                     └────────────────┤
//	                                      └─ lost too often ─► dead
//
// The states success, failed, cancelled and dead are final.
//
// # Other packages
//
// Workers are in jobs/machinery, periodic tasks in jobs/schedule, the files that tasks
// create in jobs/artifacts, and stores in jobs/sqlite and jobs/redisstream.
// jobs/driver has what authors of stores and workers need. A program that only
// enqueues tasks does not link machinery.
package jobs

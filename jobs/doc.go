// Package jobs runs long tasks in worker processes and loses none of them.
//
// A task is accepted by a Store, which has it on disk before the caller is
// told so. Workers lease tasks from the store; a lease is kept alive by
// heartbeats and fenced by the number of the attempt, so that a worker which
// was killed, hung or cut off loses its tasks to another, and cannot spoil
// them when it comes back:
//
//	Client.Enqueue ──► Store ──Lease──► Worker ──► machinery ──► Handler
//	                     ▲                │                         │
//	                     │   Extend       │ heartbeat               │ Progress
//	                     └── Finish ──────┴─────────────────────────┘
//
// This package is for those who have tasks run and who write handlers. A Client
// accepts tasks for a Store, a Registry holds the Definitions. The workers are in
// jobs/machinery, what authors of stores and workers need is in jobs/driver,
// periodic tasks are in jobs/schedule, the files that tasks leave in
// jobs/artifacts. A program that only enqueues links none of machinery.
//
// # States
//
//	scheduled ──eta──► queued ──Lease──► running ──Finish──► success
//	                     ▲                │  │ └───────────► failed, cancelled
//	                     │   lease lost   │  └─► retrying ──due──► running
//	                     └────────────────┤
//	                                      └─ lost too often ─► dead
//
// success, failed, cancelled and dead are final.
package jobs

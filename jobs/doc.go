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
// The engine in the worker is machinery's: its signatures, its registry, its
// Worker with success and error callbacks. What it would write to a broker and
// a result backend step by step is gathered while a task runs, and given to
// the store as one Outcome when the task has ended (engine.go).
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

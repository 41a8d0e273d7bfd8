// Package machinery has the Worker that runs tasks. It uses the registry, worker and
// signatures of the Go library RichardKnop/machinery. At the end of a task, machinery
// writes to its broker and result backend in several steps; this package collects these
// writes and stores them as one driver.Outcome (engine.go). Arguments and results do not
// pass through machinery: a handler reads and sets them in its jobs.Job.
//
// SendChain, SendGroup and SendChord enqueue workflows that are built with machinery's
// types.
package machinery

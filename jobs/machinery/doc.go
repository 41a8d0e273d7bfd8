// Package machinery has the Worker that runs tasks, on the engine of
// RichardKnop/machinery: its registry, worker and signatures. machinery writes the end of
// a task to its broker and result backend in several steps; this package collects these
// writes and stores them as one driver.Outcome (engine.go). Arguments and results do not
// pass through machinery: a handler reads and sets them in its jobs.Job.
//
// SendChain, SendGroup and SendChord enqueue workflows that are built with machinery's
// types.
package machinery

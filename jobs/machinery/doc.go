// Package machinery runs tasks with the engine of RichardKnop/machinery: its
// registry, its Worker, its signatures. What machinery would write to a broker and
// a result backend step by step is gathered while a task runs, and given to the
// store as one driver.Outcome when the task has ended (engine.go). Arguments and
// results do not pass through machinery: a handler takes the one from its jobs.Job
// and leaves the other there.
//
// SendChain, SendGroup and SendChord accept workflows that are built with
// machinery's types.
package machinery

// Package schedule enqueues periodic tasks, by cron expressions or intervals. Any number
// of processes may run a Scheduler at the same time; each occurrence is one task.
package schedule

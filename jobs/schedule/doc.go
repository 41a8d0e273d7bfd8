// Package schedule starts tasks again and again: cron expressions, intervals and a
// Scheduler that any number of processes may run at once.
package schedule

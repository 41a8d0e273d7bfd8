// Package meter counts the events of tasks, for metrics.
package meter

// Package meter counts what happens to tasks.
package meter

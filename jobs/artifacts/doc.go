// Package artifacts stores the files that tasks create. A Sweeper removes the files of tasks
// that the store no longer keeps.
package artifacts

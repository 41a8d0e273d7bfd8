// Package artifacts stores the files that tasks create, and removes those of tasks that
// the store no longer keeps.
package artifacts

// Package artifacts keeps the files that tasks leave, and removes those of tasks
// that are gone.
package artifacts

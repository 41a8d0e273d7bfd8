// Package chaos kills workers, servers that accept tasks, and Redis, and checks that no task
// is lost. It only has tests. "make test" runs the short ones, "make e2e" the long one, which
// prints a table.
package chaos

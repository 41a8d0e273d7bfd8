// Package chaos kills what tasks run on and looks whether any is lost: workers,
// servers that are accepting, and Redis. It has tests only; `make test` runs the
// short ones and `make e2e` the long one, which prints a table.
package chaos

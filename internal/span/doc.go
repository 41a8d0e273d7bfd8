// Package span reads lengths of time as users write them.
package span

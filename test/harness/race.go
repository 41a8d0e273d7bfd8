//go:build race

package harness

// RaceEnabled reports whether the tests and the program run under the race
// detector.
const RaceEnabled = true

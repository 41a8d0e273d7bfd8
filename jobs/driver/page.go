package driver

// Bounds of what a store reads for one page of tasks.
const (
	// ScanLimit is how many tasks are read: a filter that matches nothing must not
	// read a million of them.
	ScanLimit = 10_000
	// PageBytes is the size at which a page ends early: arguments and results may be
	// large.
	PageBytes = 4 << 20
)

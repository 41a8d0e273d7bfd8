package driver

// Limits of what a store reads for one page of tasks.
const (
	// ScanLimit is the largest number of tasks that are read for one page. Without it, a
	// filter that matches no task would read all tasks of the store.
	ScanLimit = 10_000
	// PageBytes is the size at which a page ends early, in bytes, because arguments and
	// results may be large.
	PageBytes = 4 << 20
)

// Package clockstep lets a test set the wall clock of a Go program that imports this package, as
// date -s or NTP set the clock of a machine. It replaces the function by which the Go runtime
// reads the clocks of the system (vdsoClockgettimeSym of package runtime). The monotonic clock,
// and thus timers and the differences between two results of time.Now, are not affected.
//
// A program that imports it reads Variable when it starts. Without that variable nothing is
// replaced.
package clockstep

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Variable is the environment variable with the path of a file of eight bytes: the seconds, in
// native byte order, that are added to the wall clock. Each change of the file has an effect at once.
const Variable = "TEST_CLOCK_FILE"

// offset points to the content of the file.
var offset *int64

func init() {
	path := os.Getenv(Variable) //nolint:forbidigo // tests set it for a program that does not know this package
	if path == "" {
		return
	}
	if err := use(path); err != nil {
		fmt.Fprintln(os.Stderr, "clock of the test:", err)
		os.Exit(1) //nolint:forbidigo // init has no other way to fail
	}
}

func use(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the mapping stays
	page, err := syscall.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(*offset)), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	offset = (*int64)(unsafe.Pointer(unsafe.SliceData(page)))
	return install()
}

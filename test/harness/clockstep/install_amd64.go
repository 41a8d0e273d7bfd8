package clockstep

import "errors"

// replace replaces the function of the runtime. It returns false if the runtime has none, because
// the kernel offers no vDSO; then it changes nothing.
func replace() bool

func install() error {
	if !replace() {
		return errors.New("the kernel has no vDSO")
	}
	return nil
}

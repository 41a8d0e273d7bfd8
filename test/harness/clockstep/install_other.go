//go:build !amd64

package clockstep

import "errors"

func install() error { return errors.New("it can be set on amd64 only") }

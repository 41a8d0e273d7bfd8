package demo

import (
	"errors"
	"fmt"
	"testing"

	"github.com/galeserver/gale/demo/upstream"
	"github.com/galeserver/gale/server"
)

// The response says that the other server is at fault; the cause is in the error for the
// log.
func TestUpstreamError(t *testing.T) {
	cause := errors.New("certificate signed by unknown authority")
	for fault, status := range map[error]int{upstream.ErrTimeout: 504, upstream.ErrUnreachable: 502, upstream.ErrBadResponse: 502} {
		err := upstreamError(fmt.Errorf("%w: %w", fault, cause))
		got, _ := errors.AsType[*server.Error](err)
		if got == nil || got.Status != status || got.Reason != fault.Error() || !errors.Is(err, cause) {
			t.Errorf("%v: %+v", fault, err)
		}
	}
	if err := upstreamError(cause); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

package pool_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/galeserver/gale/pool"
)

// A pool with one worker and no queue. While the worker is busy, Do returns ErrFull.
func Example() {
	p := pool.New(pool.Options{Workers: 1, Queue: -1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }() // ends with ctx

	err := p.Do(ctx, func(ctx context.Context) error {
		second := p.Do(ctx, func(context.Context) error { return nil })
		fmt.Println("second call:", second, errors.Is(second, pool.ErrFull))
		return errors.New("disk is full")
	})
	fmt.Println("first call:", err)
	fmt.Println("refused:", p.Stats().Refused)

	cancel()
	fmt.Println("drained:", <-ended)
	// Output:
	// second call: pool is full true
	// first call: disk is full
	// refused: 1
	// drained: <nil>
}

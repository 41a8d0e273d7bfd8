package pool_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/galeserver/gale/pool"
)

// One worker and no queue: who comes while it works is told so at once.
func Example() {
	p := pool.New(pool.Options{Workers: 1, Queue: -1})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }() // ends with ctx

	err := p.Do(ctx, func(ctx context.Context) error {
		second := p.Do(ctx, func(context.Context) error { return nil })
		fmt.Println("meanwhile:", second, errors.Is(second, pool.ErrFull))
		return errors.New("the work's own error")
	})
	fmt.Println("then:", err)
	fmt.Println("refused:", p.Stats().Refused)

	cancel()
	fmt.Println("drained:", <-ended)
	// Output:
	// meanwhile: pool is full true
	// then: the work's own error
	// refused: 1
	// drained: <nil>
}

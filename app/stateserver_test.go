package app

import (
	"context"
	"net"
	"testing"
	"time"
)

func TestAwaitStateServer(t *testing.T) {
	awaitStateServer(t.Context(), "") // a server with -redis has none

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	awaitStateServer(t.Context(), addr)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // ends with ctx at the latest
		defer close(ended)
		awaitStateServer(ctx, addr)
	}()
	select {
	case <-ended:
		t.Error("returned without a state server")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	<-ended
}

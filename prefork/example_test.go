package prefork_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/galeserver/gale/prefork"
)

// serve is the work of a child: an HTTP server on the listener of its slot.
func serve(child *prefork.Child) error {
	return child.Run(context.Background(), prefork.DefaultGrace, func(ctx context.Context) error {
		ln, err := child.Listener()
		if err != nil {
			return err
		}
		counters := child.Counters()
		srv := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				counters.Requests.Add(1)
				fmt.Fprintln(w, "response of", child.Slot())
			}),
			ConnState: func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					counters.Connections.Add(1)
				case http.StateClosed, http.StateHijacked:
					counters.Connections.Add(-1)
				}
			},
		}
		go func() { _ = srv.Serve(ln) }() // ends with Shutdown
		if err := child.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return srv.Shutdown(context.WithoutCancel(ctx))
	})
}

// run is a child if a master has started this process, otherwise a master.
func run() error {
	child, ok, err := prefork.Inherit(os.Environ())
	switch {
	case err != nil:
		return err
	case ok:
		return serve(child)
	}
	m, err := prefork.New(prefork.Options{
		Roles:   []prefork.Role{{Name: "serve", Slots: 2, Listens: true}},
		Command: os.Args, Environ: os.Environ(), Address: "127.0.0.1:8888",
	})
	if err != nil {
		return err
	}
	if trial, err := m.Trial(); trial || err != nil {
		return err
	}
	if _, err := m.Listen(); err != nil {
		return err
	}
	return m.Run(context.Background())
}

// A program that serves HTTP with two processes. It also needs an init function that calls
// runtime.LockOSThread, see Master.Run.
func Example() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

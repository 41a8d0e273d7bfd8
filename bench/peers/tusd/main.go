// Command tusd runs tusd, the reference implementation of the tus protocol, for make
// bench-uploads: tusd PORT FOLDER. Files are stored in the folder, under the ids of their
// uploads.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/tus/tusd/v2/pkg/filelocker"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tusd PORT FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "tusd:", err)
		os.Exit(1)
	}
}

func run(port, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	composer := handler.NewStoreComposer()
	filestore.New(folder).UseIn(composer)
	filelocker.New(folder).UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		BasePath: "/tus/", StoreComposer: composer, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	http.Handle("/tus/", http.StripPrefix("/tus/", h))
	return http.ListenAndServe("127.0.0.1:"+port, nil) //nolint:gosec // as tusd does, without timeouts
}

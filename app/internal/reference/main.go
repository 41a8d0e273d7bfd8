// Command reference generates docs/configuration.md from the flags of the server.
//
//	go run ./app/internal/reference > docs/reference/configuration.md
package main

import (
	"fmt"
	"os"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/manual"
	"github.com/galeserver/gale/demo"
)

func main() {
	a := demo.New()
	p := &config.Program{Name: a.Name, Flags: a.Flags, OnUpload: a.UploadTasks[0].Name}
	if err := manual.Configuration(os.Stdout, p); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

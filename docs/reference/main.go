// Command reference writes docs/configuration.md from the flags of the server.
//
//	go run ./docs/reference > docs/configuration.md
package main

import (
	"fmt"
	"os"

	"github.com/galeserver/gale/server/app/manual"
)

func main() {
	if err := manual.Configuration(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

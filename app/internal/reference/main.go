// Command reference writes docs/configuration.md from the flags of the server.
//
//	go run ./app/internal/reference > docs/configuration.md
package main

import (
	"fmt"
	"os"

	"github.com/galeserver/gale/app/internal/manual"
)

func main() {
	if err := manual.Configuration(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// Command server is Gale with the demonstration application: a web server, a process
// manager, a task queue and a file store for uploads in one program. See README.md.
package main

import (
	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/demo"
)

func main() { app.Main(demo.New()) }

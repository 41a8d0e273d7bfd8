// Command server is Gale: Tornado's server model, its process manager, its
// task queue and its upload handling as one program. See README.md.
package main

import (
	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/demo"
)

func main() { app.Main(demo.New()) }

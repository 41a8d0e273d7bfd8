// Command caddy runs Caddy with a WebDAV handler, for make bench-uploads: caddy PORT FOLDER.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/webdav"
)

// dav is the handler of Caddy's WebDAV module (https://github.com/mholt/caddy-webdav), which
// passes requests to golang.org/x/net/webdav. That module cannot be imported here, because the
// Go module proxy does not have it.
type dav struct {
	Root string `json:"root"`

	handler *webdav.Handler
}

// CaddyModule implements caddy.Module.
func (dav) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.webdav", New: func() caddy.Module { return new(dav) }}
}

// Provision implements caddy.Provisioner.
func (d *dav) Provision(caddy.Context) error {
	d.handler = &webdav.Handler{FileSystem: webdav.Dir(d.Root), LockSystem: webdav.NewMemLS()}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (d *dav) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	d.handler.ServeHTTP(w, r)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: caddy PORT FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "caddy:", err)
		os.Exit(1)
	}
}

func run(port, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	caddy.RegisterModule(dav{})
	// Like the other servers: no certificate, and no log of requests.
	type object = map[string]any
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps": object{"http": object{"servers": object{"files": object{
			"listen":          []string{"127.0.0.1:" + port},
			"automatic_https": object{"disable": true},
			"routes":          []object{{"handle": []object{{"handler": "webdav", "root": folder}}}},
		}}}},
	})
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	if err := caddy.Load(config, false); err != nil {
		return err
	}
	<-end
	return caddy.Stop()
}

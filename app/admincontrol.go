package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/prefork"
)

// mayControl returns the access check of requests that change the server. A Unix socket can
// only be opened by users who may write to it (unix(7)). On a TCP address the token is
// required, or if there is none, the request must come from this machine and not from a web
// page.
func mayControl(c config.Config) func(*http.Request) (int, string) {
	return func(r *http.Request) (int, string) {
		switch {
		case strings.HasPrefix(c.Admin, "unix:"):
		case c.Token != "" && !hasToken(r, c.Token):
			return http.StatusUnauthorized, "a bearer token is needed"
		case c.Token == "" && (!fromLoopback(r) || r.Header.Get("Origin") != ""):
			return http.StatusForbidden, "without a token, only this machine may change the server: use the host localhost or 127.0.0.1, or set -token-file"
		}
		return 0, ""
	}
}

// handleControl adds the routes that change the server. Each responds with 202 and the status
// as it was before the change.
func (a *admin) handleControl(mux *http.ServeMux, allow func(*http.Request) (int, string)) {
	add := func(path string, change func(ctx context.Context, r *http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if allowed(w, r, allow) {
				a.control(w, r, change)
			}
		})
	}
	add("/reload", func(ctx context.Context, _ *http.Request) error { return a.master.Reload(ctx) })
	add("/stop", func(ctx context.Context, _ *http.Request) error { return a.master.Stop(ctx) })
	add("/scale", func(ctx context.Context, r *http.Request) error {
		var slots map[string]int
		if err := json.NewDecoder(io.LimitReader(r.Body, 4<<10)).Decode(&slots); err != nil || len(slots) == 0 {
			return controlError(`the body must be JSON, with the number of slots of each role, such as {"serve":4}`)
		}
		return a.master.Scale(ctx, slots)
	})
}

// controlError is the reason why a request is not valid.
type controlError string

func (b controlError) Error() string { return string(b) }

func (a *admin) control(w http.ResponseWriter, r *http.Request, change func(context.Context, *http.Request) error) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	before, err := a.master.Status(ctx)
	if err == nil {
		err = change(ctx, r)
	}
	_, bad := errors.AsType[controlError](err)
	switch {
	case err == nil:
		a.log.Info("admin endpoint changes the server", "request", r.URL.Path)
		reply(w, http.StatusAccepted, a.statusOf(before))
	case bad || errors.Is(err, prefork.ErrScale):
		reply(w, http.StatusBadRequest, map[string]string{"reason": err.Error()})
	case errors.Is(err, prefork.ErrStopping) || errors.Is(err, prefork.ErrNotRunning):
		reply(w, http.StatusConflict, map[string]string{"reason": "the server is stopping"})
	default:
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": "the master does not respond"})
	}
}

package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/server"
)

// Platform configures the routes of the platform. With the zero value, all of them are
// on, at the paths in docs/reference/routes.md.
type Platform struct {
	// Prefix is put in front of the paths of the platform's routes, for example "/-".
	// Links and redirects include it. The path /healthz and the admin endpoint do not
	// change.
	Prefix string
	// Off lists the groups of routes that are switched off: uploads, tus, tasks, workers,
	// channels, console, static, openapi.
	Off []string
}

// faults returns what is wrong with the platform's settings.
func (p Platform) faults() (all []error) {
	if p.Prefix != "" {
		if err := server.CheckBasePath(p.Prefix); err != nil {
			all = append(all, fmt.Errorf("platform prefix: %q %w", p.Prefix, err))
		}
	}
	for _, group := range p.Off {
		if !slices.Contains(routes.Groups, group) {
			all = append(all, fmt.Errorf("platform off: %q is not one of: %s", group, strings.Join(routes.Groups, ", ")))
		}
	}
	return all
}

// allRoutes returns the routes of the platform, as a.Platform configures them, and the
// application's own routes with access control.
func (a *Application) allRoutes(d routes.Deps, s *Services) ([]server.Route, error) {
	own, err := a.ownRoutes(s)
	if err != nil {
		return nil, err
	}
	d.Prefix, d.Off = a.Platform.Prefix, a.Platform.Off
	d.Own, d.Program, d.Version = own, cmp.Or(a.Name, "gale"), release(*a)
	return a.join(routes.All(d), d.Guard.Protect(own))
}

// join returns the routes of the platform followed by those of the application. Its
// error, of type config.Faults, names each pair of routes that match the same request.
func (a *Application) join(platform, own []server.Route) ([]server.Route, error) {
	var faults config.Faults
	for _, r := range own {
		for _, p := range platform {
			if server.Clash(r, p) {
				faults = append(faults, fmt.Sprintf("%s %s of %s clashes with %s %s of Gale", r.Method, r.Path, a.command(), p.Method, p.Path))
			}
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return slices.Concat(platform, own), nil
}

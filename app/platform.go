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

// Platform is where the platform's routes are. The zero value has all of them at
// the paths of docs/http.md.
type Platform struct {
	// Prefix is in front of the paths of the platform's routes, such as /-. Links and
	// redirects follow it. /healthz, and the admin endpoint with /readyz, do not move.
	Prefix string
	// Off are the groups of routes that are not there: uploads, tus, tasks, channels,
	// console, static, openapi.
	Off []string
}

// faults says what is wrong with the platform's settings.
func (p Platform) faults() (all []error) {
	if p.Prefix != "" {
		if err := server.CheckBasePath(p.Prefix); err != nil {
			all = append(all, fmt.Errorf("platform prefix: %q %w", p.Prefix, err))
		}
	}
	for _, group := range p.Off {
		if !slices.Contains(routes.Groups, group) {
			all = append(all, fmt.Errorf("platform off: %q is none of: %s", group, strings.Join(routes.Groups, ", ")))
		}
	}
	return all
}

// allRoutes are those of the platform, as the application wants them, and its own,
// guarded.
func (a *Application) allRoutes(d routes.Deps, s *Services) ([]server.Route, error) {
	own, err := a.table(s)
	if err != nil {
		return nil, err
	}
	d.Prefix, d.Off = a.Platform.Prefix, a.Platform.Off
	d.Own, d.Program, d.Version = own, cmp.Or(a.Name, "gale"), release(*a)
	return a.join(routes.All(d), d.Guard.Own(own))
}

// join puts the routes of the platform and of the application together. The error,
// of type config.Faults, names routes of both that a request could be for.
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

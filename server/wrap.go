package server

import "slices"

// Wrap returns a copy of routes in which middleware is around the handler of each route,
// outside of the route's own Middleware. The first element is the outermost. Wrap is for
// middleware that some routes have in common, or that needs values which only the function
// that builds the routes has, such as the Services of package app.
func Wrap(routes []Route, middleware ...Middleware) []Route {
	wrapped := slices.Clone(routes)
	for i := range wrapped {
		wrapped[i].Middleware = slices.Concat(middleware, wrapped[i].Middleware)
	}
	return wrapped
}

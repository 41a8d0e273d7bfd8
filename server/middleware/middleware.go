// Package middleware has ready-made middleware for the routes of a server: a deadline,
// authentication by password or token, a rate limit and a cache of responses. The last two
// count and store over all processes and machines.
//
// Each function returns a server.Middleware. Put it into Route.Middleware, or around many
// routes with server.Wrap:
//
//	Routes: func(s *app.Services) ([]server.Route, error) {
//		limited := middleware.RateLimit(s.Limit(limit.Options{Name: "api", Limit: 100, Window: time.Minute}), nil)
//		return server.Wrap(routes, limited, middleware.Timeout(10*time.Second)), nil
//	}
//
// The first one is the outermost. A usual order is RateLimit, Timeout, BasicAuth or
// BearerAuth, Cache: so a client that guesses passwords is limited, and nobody gets a
// response from the cache without a password.
//
// A missing argument, such as a nil limiter, is a panic when the middleware is put around
// a handler, which server.New returns as an error. So it is found before the server starts.
package middleware

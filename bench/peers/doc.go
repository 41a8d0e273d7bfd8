// Package peers compares Gale's task stores with machinery's Redis broker, asynq and
// Debian's Celery, on the same redis-server. Its commands tusd and caddy are for the comparison of
// uploads. It is another module, so that the server does not depend on them. The command caddy is
// a module of its own, because it would change the versions of dependencies of the others.
package peers

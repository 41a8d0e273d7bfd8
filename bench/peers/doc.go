// Package peers compares Gale's task stores with machinery's Redis broker, asynq, River, BullMQ
// and Debian's Celery. Each has a redis-server or a file of its own. Its commands tusd and caddy
// are for the comparison of uploads. It is another module, so that the server does not depend on
// them. The command caddy is a module of its own, because it would change the versions of
// dependencies of the others.
package peers

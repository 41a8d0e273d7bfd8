// Package peers measures Gale's task stores beside others on the same
// redis-server: machinery's own Redis broker, asynq, and Debian's Celery. It is
// a module of its own, so that the server does not depend on them.
package peers

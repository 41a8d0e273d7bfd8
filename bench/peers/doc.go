// Package peers compares Gale's task stores with machinery's Redis broker, asynq and
// Debian's Celery, on the same redis-server. Its command tusd is for the comparison of uploads.
// It is another module, so that the server does not depend on them.
package peers

// Package celery takes the messages that unchanged Celery clients send to Redis, runs them as
// tasks of the same id, and stores the results where AsyncResult.get of Celery reads them.
//
// The protocol is version 2 of Celery's messages
// (https://docs.celeryq.dev/en/stable/internals/protocol.html) in the form in which kombu stores
// them in Redis, as observed with Celery 5.2.6 and kombu 5.2.4.
package celery

package server

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Limits of the delay in the body that RetryStream returns.
const (
	minReconnect = time.Second
	maxReconnect = 5 * time.Second
)

// EventStream is the content type of server-sent events (WHATWG HTML §9.2.5).
const EventStream = "text/event-stream"

// RetryStream returns the response body for an event stream that cannot be served at the
// moment. It consists of a comment with the reason, and the delay after which the client
// reconnects: a random time from one to five seconds, so that clients do not all
// reconnect at once. An EventSource does not reconnect after any status but 200 (WHATWG
// HTML §9.2.2), so a temporary fault needs this response instead of a 503.
func RetryStream(reason string) []byte {
	wait := minReconnect + rand.N(maxReconnect-minReconnect)
	return fmt.Appendf(nil, ": %s\nretry: %d\n\n", reason, wait.Milliseconds())
}

package server

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// An event stream that ends with ComeBack is opened again by its client after a
// time between these two.
const (
	minReconnect = time.Second
	maxReconnect = 5 * time.Second
)

// EventStream is the content type of server-sent events (WHATWG HTML §9.2.5).
const EventStream = "text/event-stream"

// ComeBack is the body of an event stream that cannot be served for the moment: a
// comment with the reason, and the time after which the client is to connect
// again, different for each client. An EventSource that gets any status but 200
// is closed for good (§9.2.2), so a fault that will pass must not have one.
func RetryStream(reason string) []byte {
	wait := minReconnect + rand.N(maxReconnect-minReconnect)
	return fmt.Appendf(nil, ": %s\nretry: %d\n\n", reason, wait.Milliseconds())
}

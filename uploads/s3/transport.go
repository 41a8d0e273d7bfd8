package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// errStalled is the cause of the end of an operation that made no progress.
var errStalled = errors.New("no progress within the time limit")

// watchdogKey is the context key of the watchdog of an operation.
type watchdogKey struct{}

// watchdog ends an operation that waits for the network too long. It runs only during
// these waits: a client that reads a download slowly is no fault of the service.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func (w *watchdog) start() {
	if w != nil {
		w.timer.Reset(w.limit)
	}
}

func (w *watchdog) stop() {
	if w != nil {
		w.timer.Stop()
	}
}

// operation returns a context for one or more requests. It ends with the cause errStalled
// if a request makes no progress for Options.Timeout and extra. All attempts for a request
// end with it, so the library does not try again.
func (b *Bucket) operation(ctx context.Context, extra time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{limit: b.opts.Timeout + extra}
	w.timer = time.AfterFunc(w.limit, func() { cancel(errStalled) })
	return context.WithValue(ctx, watchdogKey{}, w), func() {
		w.stop()
		cancel(nil)
	}
}

// transport counts requests and tells the watchdog of their progress.
type transport struct {
	next  http.RoundTripper
	meter Meter
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w, _ := r.Context().Value(watchdogKey{}).(*watchdog)
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context()) // a RoundTripper must not change the request
		r.Body = &sentBody{r.Body, w}
	}
	began := time.Now()
	w.start()
	resp, err := t.next.RoundTrip(r)
	w.stop()
	status := 0
	if err == nil {
		status = resp.StatusCode
		resp.Body = &receivedBody{resp.Body, w}
	}
	if t.meter != nil {
		t.meter.StorageRequest(r.Method, status, time.Since(began))
	}
	return resp, err
}

// sentBody is the body of a request. The transport reads it only when the bytes before have
// been sent, so each Read is progress.
type sentBody struct {
	io.ReadCloser
	watchdog *watchdog
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.watchdog.start()
	return b.ReadCloser.Read(p)
}

// receivedBody is the body of a response.
type receivedBody struct {
	io.ReadCloser
	watchdog *watchdog
}

func (b *receivedBody) Read(p []byte) (int, error) {
	b.watchdog.start()
	defer b.watchdog.stop()
	return b.ReadCloser.Read(p)
}

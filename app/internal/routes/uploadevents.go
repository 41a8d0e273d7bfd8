package routes

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

const (
	// uploadChannel is the prefix of the channel of an upload; the upload's id follows.
	uploadChannel = "upload:"
	// eventInterval is the shortest time between two events of an upload.
	eventInterval = 250 * time.Millisecond
	// eventRetention is the retention of an upload's channel after its last event.
	eventRetention = 10 * time.Minute
	// publishTimeout is the timeout for publishing an event.
	publishTimeout = time.Second
)

var uploadID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// UploadEvents publishes the progress of uploads to the channels upload:ID. ID is the id
// in the path of a resumable upload, or the parameter id of another upload. Uploads do not
// wait for events: if events cannot be published at once, only the latest one of each
// upload is kept. Create it with NewUploadEvents and call Run once.
type UploadEvents struct {
	bus  *realtime.Bus
	log  *slog.Logger
	wake chan struct{} // capacity 1: signals that latest is not empty

	mu     sync.Mutex
	latest map[string]uploadEvent // unpublished events by upload
}

// uploadEvent is the message that subscribers get.
type uploadEvent struct {
	Upload   string          `json:"upload"`
	Received int64           `json:"received"`         // bytes of the body, or of the file for resumable and WebSocket uploads
	Total    int64           `json:"total,omitempty"`  // announced size in bytes
	Answer   *uploadResponse `json:"answer,omitempty"` // response to the upload; only in the last event
}

// NewUploadEvents returns UploadEvents that publish on bus.
func NewUploadEvents(bus *realtime.Bus, log *slog.Logger) *UploadEvents {
	return &UploadEvents{bus: bus, log: log, wake: make(chan struct{}, 1), latest: make(map[string]uploadEvent)}
}

// Run publishes events until ctx is done, and then the remaining ones. It returns nil.
func (u *UploadEvents) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			u.publishAll()
			return nil
		case <-u.wake:
		}
		u.publishAll()
		select {
		case <-ctx.Done():
		case <-time.After(eventInterval):
		}
	}
}

// publishAll publishes the unpublished events. Errors are only logged: an upload does not
// fail because Redis is not available.
func (u *UploadEvents) publishAll() {
	u.mu.Lock()
	latest := u.latest
	u.latest = make(map[string]uploadEvent)
	u.mu.Unlock()
	for id, e := range latest {
		data, err := json.Marshal(e)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
			_, err = u.bus.PublishFor(ctx, uploadChannel+id, data, eventRetention)
			cancel()
		}
		if err != nil {
			u.log.Debug("cannot publish the progress of an upload", "upload", id, "error", err)
		}
	}
}

// note queues an event for publishing.
func (u *UploadEvents) note(e uploadEvent) {
	u.mu.Lock()
	u.latest[e.Upload] = e
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Offset publishes the offset of a resumable upload. length is its size, or -1 if that is
// not known yet.
func (u *UploadEvents) Offset(id string, offset, length int64) {
	u.note(uploadEvent{Upload: id, Received: offset, Total: max(length, 0)})
}

// followed publishes the progress of one upload. The methods of a nil pointer do nothing:
// it stands for an upload without an id.
type followed struct {
	events *UploadEvents
	last   uploadEvent // only used by the goroutine that receives the upload
}

// follow returns the followed upload for a request with the parameter id, or nil without
// that parameter. The error is a 400 response for an invalid id.
func (u *UploadEvents) follow(ctx *fasthttp.RequestCtx, total int) (*followed, error) {
	if !ctx.QueryArgs().Has("id") {
		return nil, nil //nolint:nilnil // see followed
	}
	id := string(ctx.QueryArgs().Peek("id"))
	if !uploadID.MatchString(id) {
		return nil, server.Fail(fasthttp.StatusBadRequest, "id: must consist of 1 to 100 letters, digits, dots, underscores and hyphens")
	}
	return &followed{events: u, last: uploadEvent{Upload: id, Total: int64(max(total, 0))}}, nil
}

// received publishes that n bytes have been received so far.
func (f *followed) received(n int64) {
	if f != nil {
		f.last.Received = n
		f.events.note(f.last)
	}
}

// reader returns a reader that publishes the number of bytes read from body.
func (f *followed) reader(body io.Reader) io.Reader {
	if f == nil {
		return body
	}
	return &followedBody{body: body, followed: f}
}

// end publishes the response to the upload.
func (f *followed) end(a uploadResponse) {
	if f != nil {
		f.last.Answer = &a
		f.events.note(f.last)
	}
}

type followedBody struct {
	body     io.Reader
	followed *followed
}

func (r *followedBody) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	r.followed.received(r.followed.last.Received + int64(n))
	return n, err
}

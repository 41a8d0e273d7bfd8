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
	// uploadChannel and an upload's id are where it says how far it is.
	uploadChannel = "upload:"
	// eventEvery is how often it does, at most.
	eventEvery = 250 * time.Millisecond
	// eventsKept is how long an upload's channel is kept behind its last event.
	eventsKept = 10 * time.Minute
	// tellTimeout bounds how long an event may take to be sent.
	tellTimeout = time.Second
)

var uploadID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// UploadEvents tell the subscribers of the channel upload:ID how an upload goes: a
// resumable one, whose id is in its address, and any other that is sent with the
// parameter id=ID. No upload waits for it: of what cannot be sent at once only the
// latest is. Make one with NewUploadEvents, and Run it once.
type UploadEvents struct {
	bus  *realtime.Bus
	log  *slog.Logger
	wake chan struct{} // capacity 1: there is something to tell

	mu     sync.Mutex
	latest map[string]uploadEvent // that is not told yet, by upload
}

// uploadEvent is what subscribers are told. Received is in bytes, of the body or,
// where pieces of a file come, of the file; Total is what was announced, if it was.
type uploadEvent struct {
	Upload   string          `json:"upload"`
	Received int64           `json:"received"`
	Total    int64           `json:"total,omitempty"`
	Answer   *uploadResponse `json:"answer,omitempty"` // the last event's: how it ended
}

// NewUploadEvents makes events for the channels of bus.
func NewUploadEvents(bus *realtime.Bus, log *slog.Logger) *UploadEvents {
	return &UploadEvents{bus: bus, log: log, wake: make(chan struct{}, 1), latest: make(map[string]uploadEvent)}
}

// Run tells what there is to tell until ctx ends, and then what is left.
func (u *UploadEvents) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			u.tellAll()
			return nil
		case <-u.wake:
		}
		u.tellAll()
		select {
		case <-ctx.Done():
		case <-time.After(eventEvery):
		}
	}
}

// tellAll publishes what has not been told. That Redis is away is no trouble of
// an upload's.
func (u *UploadEvents) tellAll() {
	u.mu.Lock()
	latest := u.latest
	u.latest = make(map[string]uploadEvent)
	u.mu.Unlock()
	for id, e := range latest {
		data, err := json.Marshal(e)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
			_, err = u.bus.PublishFor(ctx, uploadChannel+id, data, eventsKept)
			cancel()
		}
		if err != nil {
			u.log.Debug("cannot tell how an upload goes", "upload", id, "error", err)
		}
	}
}

// note is told soon.
func (u *UploadEvents) note(e uploadEvent) {
	u.mu.Lock()
	u.latest[e.Upload] = e
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Offset says how much of a resumable upload is there; length is -1 while that is
// unknown.
func (u *UploadEvents) Offset(id string, offset, length int64) {
	u.note(uploadEvent{Upload: id, Received: offset, Total: max(length, 0)})
}

// followed is an upload that somebody may watch. Nil is one that nobody can.
type followed struct {
	events *UploadEvents
	last   uploadEvent // of the goroutine that receives
}

// follow begins to tell of the upload that ctx asks for. The error is an id that
// is none.
func (u *UploadEvents) follow(ctx *fasthttp.RequestCtx, total int) (*followed, error) {
	if !ctx.QueryArgs().Has("id") {
		return nil, nil //nolint:nilnil // see followed
	}
	id := string(ctx.QueryArgs().Peek("id"))
	if !uploadID.MatchString(id) {
		return nil, server.Fail(fasthttp.StatusBadRequest, "id: 1 to 100 letters, digits, dots, underscores and hyphens")
	}
	return &followed{events: u, last: uploadEvent{Upload: id, Total: int64(max(total, 0))}}, nil
}

// received says that n bytes have arrived so far.
func (f *followed) received(n int64) {
	if f != nil {
		f.last.Received = n
		f.events.note(f.last)
	}
}

// reader counts what is read from body.
func (f *followed) reader(body io.Reader) io.Reader {
	if f == nil {
		return body
	}
	return &followedBody{body: body, followed: f}
}

// end tells how the upload ended.
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

package routes

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"gale/server"
	"gale/server/realtime"
	"gale/uploads"
)

const (
	// uploadChannel and the id that its sender chose are where an upload says how
	// far it is.
	uploadChannel = "upload:"
	// eventEvery is how often it does, at most.
	eventEvery = 250 * time.Millisecond
	// lastEvent bounds how long an answer waits for the last of its events to
	// be sent.
	lastEvent = time.Second
)

var uploadID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// uploadEvents tell the subscribers of the channel upload:ID how an upload goes
// that was sent with the parameter id=ID. One without costs nothing.
type uploadEvents struct {
	bus *realtime.Bus
	log *slog.Logger
}

// uploadEvent is what subscribers are told. Received is in bytes of the body, or
// of the file where the body is that; Total is what was announced, if it was.
type uploadEvent struct {
	Upload   string          `json:"upload"`
	Received int64           `json:"received"`
	Total    int64           `json:"total,omitempty"`
	Answer   *uploads.Answer `json:"answer,omitempty"` // the last event's: how it ended
}

// followed is an upload that somebody may watch. Nil is one that nobody can.
type followed struct {
	events   *uploadEvents
	id       string
	total    int64
	received atomic.Int64
	over     chan uploads.Answer // at most one
	told     chan struct{}       // closed when the last event has been sent
}

// follow begins to tell of the upload that ctx asks for; end must be called. The
// error is an id that is none.
func (e *uploadEvents) follow(ctx *fasthttp.RequestCtx, total int64) (*followed, error) {
	if !ctx.QueryArgs().Has("id") {
		return nil, nil //nolint:nilnil // see followed
	}
	id := string(ctx.QueryArgs().Peek("id"))
	if !uploadID.MatchString(id) {
		return nil, server.Fail(fasthttp.StatusBadRequest, "id: 1 to 100 letters, digits, dots, underscores and hyphens")
	}
	return e.followAs(id, total), nil
}

// followAs is follow for an upload whose id is known otherwise, and sound.
func (e *uploadEvents) followAs(id string, total int64) *followed {
	f := &followed{events: e, id: id, total: max(total, 0), over: make(chan uploads.Answer, 1), told: make(chan struct{})}
	go f.run() // ends with end, which waits for it
	return f
}

func (f *followed) run() {
	defer close(f.told)
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		select {
		case a := <-f.over:
			f.tell(uploadEvent{Answer: &a})
			return
		case <-tick.C:
			if now := f.received.Load(); now != last {
				last = now
				f.tell(uploadEvent{})
			}
		}
	}
}

// tell publishes an event. That Redis is away is no trouble of the upload's.
func (f *followed) tell(e uploadEvent) {
	e.Upload, e.Received, e.Total = f.id, f.received.Load(), f.total
	data, err := json.Marshal(e)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastEvent)
		defer cancel()
		_, err = f.events.bus.Publish(ctx, uploadChannel+f.id, data)
	}
	if err != nil {
		f.events.log.Debug("cannot tell how an upload goes", "upload", f.id, "error", err)
	}
}

// reader counts what is read from body.
func (f *followed) reader(body io.Reader) io.Reader {
	if f == nil {
		return body
	}
	return &countingReader{body: body, count: &f.received}
}

// written says that n bytes have arrived so far.
func (f *followed) written(n int64) {
	if f != nil {
		f.received.Store(n)
	}
}

// end tells how the upload ended, before its sender is answered.
func (f *followed) end(a uploads.Answer) {
	if f == nil {
		return
	}
	f.over <- a
	<-f.told
}

type countingReader struct {
	body  io.Reader
	count *atomic.Int64
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	r.count.Add(int64(n))
	return n, err
}

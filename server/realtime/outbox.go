package realtime

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
)

// itemCost is what a waiting item costs beside its bytes.
const itemCost = 64

// errFull is an outbox with no room: Send waits then.
var errFull = errors.New("the client's queue is full")

// item is something to be written.
type item struct {
	kind     int // of a WebSocket's frame; in a Stream 0, or that of a ping
	data     []byte
	prepared *websocket.PreparedMessage // instead of data: encoded once, for many
	size     int                        // as it is counted
	last     bool                       // nothing comes after it
}

// message reports whether an item tells the client more than that the server is
// there, or goes.
func (it item) message() bool {
	return it.kind == websocket.TextMessage || it.kind == websocket.BinaryMessage || it.kind == 0 && len(it.data) > 0
}

// wire writes items to a connection. One item is written at a time.
type wire interface {
	write(item) error
	// failed is told, once, why nothing more can be written.
	failed(error)
}

// outbox is what waits to be written to one client, in order; what its
// subscription brings comes after what was put. Its goroutine is there only
// while there is something to write.
type outbox struct {
	hub  *Hub
	wire wire
	kind Kind

	mu      sync.Mutex
	queue   []item
	bytes   int           // of queue and the item that is being written
	sub     *subscription // or nil
	writing bool          // the goroutine is there
	sealed  bool          // the last item has been put
	ended   bool
	alarms  []*alarm      // to come
	room    chan struct{} // made by who waits, closed when there is room

	took, wrote uint64        // items that were put; of them written
	answered    chan struct{} // made by flush, closed when wrote is answers
	answers     uint64
}

// put queues an item; errFull if there is no room for it. An item larger than
// the queue may have it for itself.
func (o *outbox) put(it item) error {
	it.size = len(it.data) + itemCost
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended || o.sealed:
		return ErrClosed
	case o.bytes > 0 && o.bytes+it.size > o.hub.opts.Queue && !it.last:
		return errFull
	}
	o.sealed = it.last
	o.bytes += it.size
	o.took++
	o.queue = append(o.queue, it)
	o.start()
	return nil
}

// send queues an item when there is room for it.
func (o *outbox) send(ctx context.Context, it item) error {
	for {
		err := o.put(it)
		if !errors.Is(err, errFull) {
			return err
		}
		select {
		case <-o.vacancy():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// vacancy returns a channel that is closed when half of the queue is free, or
// the connection has ended.
func (o *outbox) vacancy() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.bytes <= o.hub.opts.Queue/2 {
		free := make(chan struct{})
		close(free)
		return free
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// wake looks whether the subscription has something.
func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start()
}

// start makes sure that the goroutine is there. It needs mu.
func (o *outbox) start() {
	if o.writing || o.ended {
		return
	}
	o.writing = true
	o.hub.work.Go(o.run) // ends when nothing is to be written, or nothing can be
}

// release lets an outbox write that was made with writing set.
func (o *outbox) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	o.start()
}

func (o *outbox) run() {
	for {
		it, ok := o.next()
		if !ok {
			return
		}
		err := o.wire.write(it)
		if err != nil {
			o.end()
			o.wire.failed(err)
			return
		}
		o.written(it)
	}
}

// next takes the next item; if there is none the goroutine ends.
func (o *outbox) next() (it item, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
	case len(o.queue) > 0:
		it = o.queue[0]
		o.queue[0] = item{}
		if o.queue = o.queue[1:]; len(o.queue) == 0 {
			o.queue = nil // an idle connection holds no memory for it
		}
		return it, true
	case o.sub != nil && !o.sealed:
		if it, ok = o.sub.next(); ok {
			o.sealed = it.last
			return it, true
		}
	}
	o.writing = false
	return item{}, false
}

func (o *outbox) written(it item) {
	if it.message() {
		o.hub.opts.Meter.Sent(o.kind)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if it.size > 0 { // it was put, and is not the subscription's
		o.bytes -= it.size
		o.wrote++
	}
	if o.answered != nil && o.wrote >= o.answers {
		close(o.answered)
		o.answered = nil
	}
	if o.room != nil && o.bytes <= o.hub.opts.Queue/2 {
		close(o.room)
		o.room = nil
	}
}

// flush returns when what has been put until now is written, or the connection
// has ended. Only one may wait at a time.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.ended || o.wrote == o.took {
		o.mu.Unlock()
		return
	}
	done := make(chan struct{})
	o.answers, o.answered = o.took, done
	o.mu.Unlock()
	<-done
}

// queued returns how many bytes wait.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// what implements member.
func (o *outbox) what() Kind { return o.kind }

// end drops what waits and lets nothing in any more.
func (o *outbox) end() {
	o.mu.Lock()
	o.ended, o.queue = true, nil
	for _, waits := range []*chan struct{}{&o.room, &o.answered} {
		if *waits != nil {
			close(*waits)
			*waits = nil
		}
	}
	sub, alarms := o.sub, o.alarms
	o.sub, o.alarms = nil, nil
	o.mu.Unlock()
	for _, a := range alarms {
		o.hub.wheel.stop(a)
	}
	if sub != nil {
		sub.stop()
	}
}

// after calls call in d, unless the connection has ended by then; it must not
// block.
func (o *outbox) after(d time.Duration, call func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	a := new(alarm)
	a.call = func() {
		if o.disarm(a) {
			call()
		}
	}
	o.alarms = append(o.alarms, a)
	o.hub.wheel.start(a, d)
}

// disarm takes an alarm off the list, and reports whether it was there.
func (o *outbox) disarm(a *alarm) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.alarms, a)
	if i >= 0 {
		o.alarms = slices.Delete(o.alarms, i, i+1)
	}
	return i >= 0
}

// slow counts and logs that a client was closed because it made no room.
func (o *outbox) slow(client netip.Addr) {
	o.hub.opts.Meter.TooSlow(o.kind)
	o.hub.opts.Logger.Warn("client too slow, connection closed", "client", client, "paused_for", o.hub.opts.SendTimeout)
}

// attach makes sub what the outbox takes from; there must be none yet.
func (o *outbox) attach(sub *subscription) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.sealed || o.sub != nil {
		return ErrClosed
	}
	o.sub = sub
	o.start()
	return nil
}

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
	final    bool                       // nothing comes after it
}

// message reports whether an item tells the client more than that the server is
// there, or goes.
func (it item) isMessage() bool {
	return it.kind == websocket.TextMessage || it.kind == websocket.BinaryMessage || it.kind == 0 && len(it.data) > 0
}

// wire writes items to a connection. One item is written at a time.
type wire interface {
	write(item) error
	// failed is told, once, why nothing more can be written.
	writeFailed(error)
}

// outbox is what waits to be written to one client, in order; what its
// subscription brings comes after what was put. Its goroutine is there only
// while there is something to write.
type outbox struct {
	hub  *Hub
	wire wire
	kind Kind

	mu         sync.Mutex
	queue      []item
	bytes      int           // of queue and the item that is being written
	sub        *subscription // or nil
	writing    bool          // the goroutine is there
	closing    bool          // the last item has been put
	ended      bool
	timers     []*timer      // to come
	spaceFreed chan struct{} // made by who waits, closed when there is room

	enqueued, dequeued uint64        // items that were put; of them written
	flushed            chan struct{} // made by flush, closed when wrote is answers
	flushTarget        uint64
}

// put queues an item; errFull if there is no room for it. An item larger than
// the queue may have it for itself.
func (o *outbox) enqueue(it item) error {
	it.size = len(it.data) + itemCost
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended || o.closing:
		return ErrClosed
	case o.bytes > 0 && o.bytes+it.size > o.hub.opts.Queue && !it.final:
		return errFull
	}
	o.closing = it.final
	o.bytes += it.size
	o.enqueued++
	o.queue = append(o.queue, it)
	o.start()
	return nil
}

// send queues an item when there is room for it.
func (o *outbox) send(ctx context.Context, it item) error {
	for {
		err := o.enqueue(it)
		if !errors.Is(err, errFull) {
			return err
		}
		select {
		case <-o.spaceAvailable():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// vacancy returns a channel that is closed when half of the queue is free, or
// the connection has ended.
func (o *outbox) spaceAvailable() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.bytes <= o.hub.opts.Queue/2 {
		free := make(chan struct{})
		close(free)
		return free
	}
	if o.spaceFreed == nil {
		o.spaceFreed = make(chan struct{})
	}
	return o.spaceFreed
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
	o.hub.goroutines.Go(o.run) // ends when nothing is to be written, or nothing can be
}

// release lets an outbox write that was made with writing set.
func (o *outbox) unblock() {
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
			o.wire.writeFailed(err)
			return
		}
		o.markWritten(it)
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
	case o.sub != nil && !o.closing:
		if it, ok = o.sub.next(); ok {
			o.closing = it.final
			return it, true
		}
	}
	o.writing = false
	return item{}, false
}

func (o *outbox) markWritten(it item) {
	if it.isMessage() {
		o.hub.opts.Meter.Sent(o.kind)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if it.size > 0 { // it was put, and is not the subscription's
		o.bytes -= it.size
		o.dequeued++
	}
	if o.flushed != nil && o.dequeued >= o.flushTarget {
		close(o.flushed)
		o.flushed = nil
	}
	if o.spaceFreed != nil && o.bytes <= o.hub.opts.Queue/2 {
		close(o.spaceFreed)
		o.spaceFreed = nil
	}
}

// flush returns when what has been put until now is written, or the connection
// has ended. Only one may wait at a time.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.ended || o.dequeued == o.enqueued {
		o.mu.Unlock()
		return
	}
	done := make(chan struct{})
	o.flushTarget, o.flushed = o.enqueued, done
	o.mu.Unlock()
	<-done
}

// queued returns how many bytes wait.
func (o *outbox) queuedBytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// what implements member.
func (o *outbox) connKind() Kind { return o.kind }

// end drops what waits and lets nothing in any more.
func (o *outbox) end() {
	o.mu.Lock()
	o.ended, o.queue = true, nil
	for _, signal := range []*chan struct{}{&o.spaceFreed, &o.flushed} {
		if *signal != nil {
			close(*signal)
			*signal = nil
		}
	}
	sub, alarms := o.sub, o.timers
	o.sub, o.timers = nil, nil
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
func (o *outbox) schedule(d time.Duration, call func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	a := new(timer)
	a.call = func() {
		if o.removeTimer(a) {
			call()
		}
	}
	o.timers = append(o.timers, a)
	o.hub.wheel.start(a, d)
}

// disarm takes an alarm off the list, and reports whether it was there.
func (o *outbox) removeTimer(a *timer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.timers, a)
	if i >= 0 {
		o.timers = slices.Delete(o.timers, i, i+1)
	}
	return i >= 0
}

// slow counts and logs that a client was closed because it made no room.
func (o *outbox) reportSlowConsumer(client netip.Addr) {
	o.hub.opts.Meter.TooSlow(o.kind)
	o.hub.opts.Logger.Warn("client too slow, connection closed", "client", client, "paused_for", o.hub.opts.SendTimeout)
}

// attach makes sub what the outbox takes from; there must be none yet.
func (o *outbox) attach(sub *subscription) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.closing || o.sub != nil {
		return ErrClosed
	}
	o.sub = sub
	o.start()
	return nil
}

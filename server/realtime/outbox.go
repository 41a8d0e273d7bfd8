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

// itemCost is the overhead of a queued item, in bytes.
const itemCost = 64

// errFull is the error of enqueue for a full queue. Send then waits.
var errFull = errors.New("the client's queue is full")

// item is one write to a connection.
type item struct {
	kind     int // WebSocket frame type; in a Stream 0, or PingMessage for keep-alive data
	data     []byte
	shared   []byte                     // bytes to write, encoded once for many clients; used in place of data
	prepared *websocket.PreparedMessage // the same for clients that may want compression
	size     int                        // bytes counted in the queue; 0 for a channel message
	final    bool                       // true for the last item, which ends the connection
}

// isMessage reports whether an item counts as a message, unlike pings and close
// frames.
func (it item) isMessage() bool {
	return it.kind == websocket.TextMessage || it.kind == websocket.BinaryMessage || it.kind == 0 && len(it.data) > 0
}

// wire writes items to a connection, one at a time.
type wire interface {
	write(item) error
	// tryWrite writes an item without waiting. If it cannot do so completely, it returns
	// later, which must be called next, on a goroutine that may wait.
	tryWrite(item) (later func() error, err error)
	// writeFailed is called once, with the error of the write that failed.
	writeFailed(error)
}

// outbox is the write queue of one client. Queued items are written before the messages
// of the subscription. The goroutine that adds something writes it, unless that would have to
// wait for the client: then the outbox has a goroutine until all is written.
type outbox struct {
	hub  *Hub
	wire wire
	kind Kind

	mu         sync.Mutex
	queue      []item
	bytes      int           // size of queue and of the item being written
	sub        *subscription // subscription to a channel; nil if there is none
	writing    bool          // true while a goroutine writes, or until unblock is called
	closing    bool          // true after the final item was queued
	ended      bool          // true after end was called
	timers     []*timer      // pending timers of the connection
	spaceFreed chan struct{} // channel made by spaceAvailable; closed when half of the queue is free

	enqueued, dequeued uint64        // number of items queued, and of those written
	flushed            chan struct{} // channel made by flush; closed when dequeued reaches flushTarget
	flushTarget        uint64        // value of enqueued when flush was called
}

// enqueue queues an item. It returns errFull if the queue has no space for the item, and
// ErrClosed after the final item. An empty queue accepts an item of any size.
func (o *outbox) enqueue(it item) error {
	it.size = len(it.data) + itemCost
	if err := o.add(it); err != nil {
		return err
	}
	o.wake()
	return nil
}

func (o *outbox) add(it item) error {
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
	return nil
}

// send queues an item, and waits for space if necessary.
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

// spaceAvailable returns a channel that is closed when half of the queue is free or
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

// wake writes what can be written without waiting, unless a goroutine is writing already.
func (o *outbox) wake() {
	o.mu.Lock()
	idle := !o.writing && !o.ended
	o.writing = o.writing || idle
	o.mu.Unlock()
	if !idle {
		return
	}
	for it, ok := o.next(); ok; it, ok = o.next() {
		later, err := o.wire.tryWrite(it)
		if later != nil {
			o.startWriting(it, later)
			return
		}
		if !o.wrote(it, err) {
			return
		}
	}
}

// startWriting starts a goroutine that calls later, which writes an item, and then writes the
// other items.
func (o *outbox) startWriting(it item, later func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended { // Hub.drain may no longer wait for goroutines
		return
	}
	o.hub.goroutines.Go(func() { // ends when there is nothing to write, or a write fails
		if o.wrote(it, later()) {
			o.run()
		}
	})
}

// unblock allows writing in an outbox that was made with writing set.
func (o *outbox) unblock() {
	o.mu.Lock()
	o.writing = false
	o.mu.Unlock()
	o.wake()
}

// run writes until there is nothing to write, or a write fails.
func (o *outbox) run() {
	for it, ok := o.next(); ok && o.wrote(it, o.wire.write(it)); it, ok = o.next() {
	}
}

// wrote handles the result of writing an item. It returns false if that failed.
func (o *outbox) wrote(it item, err error) bool {
	if err != nil {
		o.end()
		o.wire.writeFailed(err)
		return false
	}
	o.markWritten(it)
	return true
}

// next returns the next item to write. If there is none, ok is false and the caller must
// stop writing.
func (o *outbox) next() (it item, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
	case len(o.queue) > 0:
		it = o.queue[0]
		o.queue[0] = item{}
		if o.queue = o.queue[1:]; len(o.queue) == 0 {
			o.queue = nil // an idle connection needs no memory for a queue
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
	if it.size > 0 { // a channel message was not in the queue
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

// flush waits until all items queued before the call are written, or the connection has
// ended. Only one goroutine at a time may call it.
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

// queuedBytes returns the size of the queue.
func (o *outbox) queuedBytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// connKind implements member.
func (o *outbox) connKind() Kind { return o.kind }

// end drops the queue and refuses further items.
func (o *outbox) end() {
	o.mu.Lock()
	o.ended, o.queue = true, nil
	for _, signal := range []*chan struct{}{&o.spaceFreed, &o.flushed} {
		if *signal != nil {
			close(*signal)
			*signal = nil
		}
	}
	sub, timers := o.sub, o.timers
	o.sub, o.timers = nil, nil
	o.mu.Unlock()
	for _, a := range timers {
		o.hub.wheel.stop(a)
	}
	if sub != nil {
		sub.stop()
	}
}

// schedule calls call after d, unless the connection has ended by then. call must not
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

// removeTimer removes a timer from the list, and reports whether the list had it.
func (o *outbox) removeTimer(a *timer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.timers, a)
	if i >= 0 {
		o.timers = slices.Delete(o.timers, i, i+1)
	}
	return i >= 0
}

// reportSlowConsumer counts and logs that a connection was closed because its client
// did not read.
func (o *outbox) reportSlowConsumer(client netip.Addr) {
	o.hub.opts.Meter.TooSlow(o.kind)
	o.hub.opts.Logger.Warn("slow consumer, connection closed", "client", client, "paused_for", o.hub.opts.SendTimeout)
}

// attach adds the subscription. There must be none yet.
func (o *outbox) attach(sub *subscription) error {
	o.mu.Lock()
	if o.ended || o.closing || o.sub != nil {
		o.mu.Unlock()
		return ErrClosed
	}
	o.sub = sub
	o.mu.Unlock()
	o.wake()
	return nil
}

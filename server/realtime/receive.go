package realtime

import "context"

// Subscribe calls handle for each message of a channel from start on, one at a time and in
// order. It blocks until ctx ends and returns its cause, or until handle returns an error
// and returns that error. Use it for background work; for WebSockets and event
// streams use Conn.Subscribe and Stream.Subscribe. Run must be running.
//
// If messages after start or after the last call of handle are no longer kept
// (BusOptions.History), handle gets an Event with Gap set, and then the oldest message
// that is kept.
//
// If the subscription cannot start, the error wraps ErrChannel, or ErrAway if the channel
// cannot be read. Subscribe does not return after a later failure of Redis, because Run
// subscribes again.
func (b *Bus) Subscribe(ctx context.Context, start Start, handle func(Event) error) error {
	more := make(signal, 1)
	s := &subscription{box: more}
	position, err := b.subscribe(ctx, start, s)
	if err != nil {
		return err
	}
	defer s.stop()
	if position.Gap {
		if err := handle(Event{Channel: start.Channel, Seq: position.Seq, Gap: true}); err != nil {
			return err
		}
	}
	for {
		f, lost := s.topic.nextAfter(s.lastSeq)
		if f == nil {
			select {
			case <-more:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if lost {
			b.opts.Meter.ChannelGap(GapClient)
		}
		s.lastSeq = f.Seq
		if err := handle(f.Event); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// signal is a waker for Bus.Subscribe: it has an element if there may be a new message.
// Its capacity is 1.
type signal chan struct{}

func (s signal) wake() {
	select {
	case s <- struct{}{}:
	default: // the signal is pending already
	}
}

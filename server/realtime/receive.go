package realtime

import "context"

// Subscribe calls handle for each message of a channel from start on, one at a time, in
// order, until ctx ends or handle returns an error, which Subscribe returns. It is for
// work in the background of a process; WebSockets and event streams subscribe by
// Conn.Subscribe and Stream.Subscribe. Run must be running.
//
// A handle that is slower than the channel for longer than BusOptions.History allows
// gets an Event with Gap set, and then the oldest message that is kept; so does one that
// resumes behind it. The error wraps ErrChannel, or ErrAway if the channel cannot be
// read at the start; Redis going away later is no error, since Run subscribes again.
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

// signal tells a subscription that there may be a new message. Its capacity is 1.
type signal chan struct{}

func (s signal) wake() {
	select {
	case s <- struct{}{}:
	default: // the signal is pending already
	}
}

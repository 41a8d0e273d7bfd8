package realtime

import (
	"context"
	"slices"
	"sort"
	"sync"
)

// Event is a message of a channel, or a gap. Seq is the number of the message. If Gap is
// true, messages up to and including number Seq are missing, and Data is empty.
type Event struct {
	Channel string
	Seq     uint64
	Data    string
	Gap     bool
}

// frame is an event with its encodings. Each encoding is made once and used for all
// subscribers.
type frame struct {
	Event

	mu        sync.Mutex
	encodings []encodedItem
}

type encodedItem struct {
	form *Form
	item item
}

// Form is the encoding of events for one kind of subscriber. Use the same *Form for all
// subscriptions of a kind, since encoded messages are cached by its address.
type Form struct {
	// Encode returns the bytes to send for an event, or nil to send nothing. If the
	// channel no longer keeps the next message of a subscriber, Encode gets an event with
	// Gap set. If it returns nil for that event, the connection is closed.
	Encode func(Event) []byte
	// Once ends the connection after the first event that was sent.
	Once bool
}

// encoded returns the frame in a form, packed in an item. All callers with the same form
// get the same item.
func (f *frame) encoded(form *Form, pack func([]byte) item) item {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.encodings {
		if known.form == form {
			return known.item
		}
	}
	var it item
	if data := form.Encode(f.Event); data != nil {
		it = pack(data)
		it.final = form.Once
	}
	f.encodings = append(f.encodings, encodedItem{form, it})
	return it
}

// topic is a channel with subscribers in this process: a ring of its last events, in
// which each subscription has a position.
type topic struct {
	bus  *Bus
	name string
	refs int // number of subscriptions; guarded by Bus.mu

	fetchMu sync.Mutex // held during a query to Redis, whose result serves all callers

	mu         sync.Mutex
	loaded     bool     // true when the history has been loaded, so seq is valid
	pendingSeq uint64   // highest sequence number received before the history was loaded
	trimmedSeq uint64   // number of the last message that was dropped from the ring
	seq        uint64   // number of the last message
	frames     []*frame // the ring: events after trimmedSeq, oldest first
	bytes      int      // size of the data in frames
	subs       map[*subscription]struct{}
	wakerCache []waker // wakers of subs; nil after subs has changed
	waking     bool    // true while a goroutine wakes the subscribers
	wakeAgain  bool    // true if it must do that once more
}

// receive adds a message, unless the ring has it already. It returns false if an
// earlier message is missing.
func (t *topic) receive(seq uint64, data string) bool {
	t.mu.Lock()
	switch {
	case !t.loaded:
		t.pendingSeq = max(t.pendingSeq, seq)
		t.mu.Unlock()
		return true
	case seq <= t.seq:
		t.mu.Unlock()
		return true
	case seq != t.seq+1:
		t.mu.Unlock()
		return false
	}
	t.append(Event{Channel: t.name, Seq: seq, Data: data})
	t.mu.Unlock()
	t.wake()
	return true
}

// append appends an event, and drops the oldest events until the ring is within its
// limits. The caller holds mu.
func (t *topic) append(e Event) {
	t.seq = e.Seq
	t.frames = append(t.frames, &frame{Event: e})
	t.bytes += len(e.Data)
	o, dropped := &t.bus.opts, 0
	for len(t.frames)-dropped > 1 && (len(t.frames)-dropped > o.History || t.bytes > o.HistoryBytes) {
		t.trimmedSeq = t.frames[dropped].Seq
		t.bytes -= len(t.frames[dropped].Data)
		t.frames[dropped] = nil
		dropped++
	}
	t.frames = t.frames[dropped:]
}

// waker is notified by a topic about new messages. It is an outbox, or a signal.
type waker interface {
	wake() // makes the subscriber read new messages; must not block
}

// wakers returns the wakers of all subscriptions. The caller holds mu.
func (t *topic) wakers() []waker {
	if t.wakerCache == nil {
		t.wakerCache = make([]waker, 0, len(t.subs))
		for s := range t.subs {
			t.wakerCache = append(t.wakerCache, s.box)
		}
	}
	return t.wakerCache
}

// wake makes all subscribers read new messages. It does not block: a goroutine wakes them, and
// does that once more if there are further messages when it is done.
func (t *topic) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wakeAgain = true
	if !t.waking && len(t.subs) > 0 {
		t.waking = true
		go t.wakeAll() // does not block; ends when no subscriber has to be woken
	}
}

// fanOut is the number of subscribers that a goroutine wakes.
const fanOut = 512

func (t *topic) wakeAll() {
	for {
		t.mu.Lock()
		if t.waking = t.wakeAgain; !t.waking {
			t.mu.Unlock()
			return
		}
		t.wakeAgain = false
		all := t.wakers()
		t.mu.Unlock()
		var others sync.WaitGroup
		for len(all) > fanOut {
			part := all[:fanOut]
			others.Go(func() { wakeEach(part) }) // does not block
			all = all[fanOut:]
		}
		wakeEach(all)
		others.Wait()
	}
}

func wakeEach(list []waker) {
	for _, w := range list {
		w.wake()
	}
}

// catchUp loads the channel's history from Redis and adds the new messages. An error is
// logged. It is repeated with the next message of the channel, or when Run has subscribed
// to Redis again.
func (t *topic) catchUp(ctx context.Context) {
	t.fetchMu.Lock()
	defer t.fetchMu.Unlock()
	if err := t.refresh(ctx); err == nil {
		t.bus.problems.Resolve(historyUnread, "", "channels: history can be read again")
	} else if ctx.Err() == nil {
		t.bus.problems.Report(historyUnread, "", err, "channel", t.name)
	}
}

// ensureLoaded loads the history for a new subscription, unless it is loaded already.
func (t *topic) ensureLoaded(ctx context.Context) error {
	t.fetchMu.Lock()
	defer t.fetchMu.Unlock()
	t.mu.Lock()
	known := t.loaded
	t.mu.Unlock()
	if known {
		return nil
	}
	return t.refresh(ctx)
}

// refresh loads the history from Redis. The caller holds fetchMu.
func (t *topic) refresh(ctx context.Context) error {
	for {
		seq, kept, err := t.bus.tail(ctx, t.name)
		if err != nil {
			return err
		}
		missing := t.merge(seq, kept)
		t.wake()
		if missing > 0 {
			t.bus.opts.Meter.ChannelGap(GapProcess)
			t.bus.opts.Logger.Warn("channels: messages lost", "channel", t.name, "before", missing)
		}
		t.mu.Lock()
		outdated := t.pendingSeq > t.seq // a message was published after the query
		t.pendingSeq = 0
		t.mu.Unlock()
		if !outdated {
			return nil
		}
	}
}

// merge adds the history of the channel. missing is the number of the first message
// after a gap, or 0.
func (t *topic) merge(seq uint64, kept []string) (missing uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := seq - min(seq, uint64(len(kept))) // number before the first kept message
	switch {
	case !t.loaded:
		t.loaded, t.seq, t.trimmedSeq = true, before, before
	case before > t.seq:
		missing = before + 1
		t.append(Event{Channel: t.name, Seq: before, Gap: true})
	}
	for i, data := range kept {
		if number := before + uint64(i) + 1; number > t.seq {
			t.append(Event{Channel: t.name, Seq: number, Data: data})
		}
	}
	return missing
}

// subscription is a position in the ring of a topic.
type subscription struct {
	topic   *topic
	box     waker // outbox of the connection, or the signal of Bus.Subscribe
	form    *Form
	wrap    func([]byte) item // makes an item for this kind of connection
	onGap   func() item       // final item after a gap that the form cannot encode
	lastSeq uint64            // number of the last event that was sent; guarded by outbox.mu if box is an outbox
}

// next returns the next item, if there is one. The caller holds outbox.mu.
//
// If the ring has dropped the next message, the subscriber gets a gap and continues
// with the oldest message that is kept. It does not count as a slow consumer, since this
// process may have been too busy to write. Options.SendTimeout detects clients that do not
// read.
func (s *subscription) next() (it item, ok bool) {
	for {
		f, lost := s.topic.nextAfter(s.lastSeq)
		if f == nil {
			return item{}, false
		}
		s.lastSeq = f.Seq
		it = f.encoded(s.form, s.wrap)
		encodable := it.data != nil || it.shared != nil || it.prepared != nil
		if lost {
			s.topic.bus.opts.Meter.ChannelGap(GapClient)
		}
		switch {
		case encodable:
			return it, true
		case lost:
			return s.onGap(), true
		}
	}
}

// nextAfter returns the first frame after a number, or nil if there is none yet. If the
// ring has dropped that frame, lost is true and f is a gap up to the oldest kept frame.
func (t *topic) nextAfter(after uint64) (f *frame, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.loaded || after >= t.seq {
		return nil, false
	}
	if after < t.trimmedSeq {
		return &frame{Event: Event{Channel: t.name, Seq: t.trimmedSeq, Gap: true}}, true
	}
	i := sort.Search(len(t.frames), func(i int) bool { return t.frames[i].Seq > after })
	return t.frames[i], false
}

// Start is the channel of a subscription and the position at which it begins.
type Start struct {
	Channel string
	// Resume makes the subscription begin after message number Since, the last one that
	// the client has. Without Resume it begins with the next message that is published.
	Resume bool
	Since  uint64
}

// Position is the position at which a subscription has begun: after message number Seq.
// Gap is true if messages after Start.Since and up to Seq are lost, or if Start.Since is
// higher than the number of the last message.
type Position struct {
	Seq uint64
	Gap bool
}

// subscribe adds s to the topic of a channel and returns its position. The caller attaches
// s to its outbox later, so that the client gets the position before the first message.
func (b *Bus) subscribe(ctx context.Context, start Start, s *subscription) (Position, error) {
	if !channelName.MatchString(start.Channel) {
		return Position{}, ErrChannel
	}
	b.mu.Lock()
	t := b.topics[start.Channel]
	if t == nil {
		t = &topic{bus: b, name: start.Channel, subs: make(map[*subscription]struct{})}
		b.topics[start.Channel] = t
	}
	t.refs++
	b.mu.Unlock()
	s.topic = t
	err := t.ensureLoaded(ctx)
	if err != nil {
		s.stop()
		return Position{}, err
	}
	t.mu.Lock()
	outdated := start.Resume && start.Since > t.seq
	t.mu.Unlock()
	if outdated {
		t.catchUp(ctx) // this process has not received the message yet, or Redis has lost its data
	}
	p := t.register(start, s)
	if p.Gap {
		b.opts.Meter.ChannelGap(GapClient)
	}
	return p, nil
}

// register adds s to the topic and sets its position.
func (t *topic) register(start Start, s *subscription) Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs[s] = struct{}{}
	t.wakerCache = nil
	p := Position{Seq: t.seq}
	switch {
	case !start.Resume:
	case start.Since > t.seq:
		p.Gap = true
	case start.Since < t.trimmedSeq:
		p = Position{Seq: t.trimmedSeq, Gap: true}
	default:
		p.Seq = start.Since
	}
	s.lastSeq = p.Seq
	return p
}

// stop removes the subscription from its topic.
func (s *subscription) stop() {
	t := s.topic
	t.mu.Lock()
	delete(t.subs, s)
	t.wakerCache = nil
	t.mu.Unlock()
	b := t.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.refs--; t.refs == 0 {
		delete(b.topics, t.name)
	}
}

// Channels returns the names of the channels with subscribers in this process.
func (b *Bus) Channels() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

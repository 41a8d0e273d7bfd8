package realtime

import (
	"context"
	"slices"
	"sort"
	"sync"
)

// Event is a message of a channel, or the news that messages are missing before
// the number Seq+1.
type Event struct {
	Channel string
	Seq     uint64
	Data    string
	Gap     bool
}

// frame is an event with what has been made of it: each form once, for all.
type frame struct {
	Event

	mu        sync.Mutex
	encodings []encodedItem
}

type encodedItem struct {
	form *Form
	item item
}

// Form makes of an event what one kind of subscriber gets. Use one variable for
// all subscriptions of a kind: it is what its results are kept under.
type Form struct {
	// Encode returns what is sent for an event; nothing is sent for nil. A
	// subscriber that is further behind than its channel keeps gets a gap; if
	// Encode returns nil for that, its connection is closed instead.
	Encode func(Event) []byte
	// Once ends the connection behind the first event, with Encode's result.
	Once bool
}

// as returns the frame in a form; the item is the same for all who ask.
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

// topic is a channel that somebody here subscribes to: a ring of its last
// events, in which each subscription has a place.
type topic struct {
	bus  *Bus
	name string
	refs int // subscriptions; under Bus.mu

	fetchMu sync.Mutex // held while Redis is asked: one does for all who want to know

	mu          sync.Mutex
	loaded      bool   // seq is
	pendingSeq  uint64 // a message came before it was
	trimmedSeq  uint64 // the ring holds all that came behind this number
	seq         uint64 // the last number
	frames      []*frame
	bytes       int
	subs        map[*subscription]struct{}
	outboxCache []*outbox // of subs; nil when they have changed
}

// take adds a message, unless it is known already. It is false if one before it
// is missing.
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
	list := t.outboxes()
	t.mu.Unlock()
	wakeAll(list)
	return true
}

// push appends an event and lets the oldest go. It needs mu.
func (t *topic) append(e Event) {
	t.seq = e.Seq
	t.frames = append(t.frames, &frame{Event: e})
	t.bytes += len(e.Data)
	o, gone := &t.bus.opts, 0
	for len(t.frames)-gone > 1 && (len(t.frames)-gone > o.History || t.bytes > o.HistoryBytes) {
		t.trimmedSeq = t.frames[gone].Seq
		t.bytes -= len(t.frames[gone].Data)
		t.frames[gone] = nil
		gone++
	}
	t.frames = t.frames[gone:]
}

// outboxes are those of all subscriptions. It needs mu.
func (t *topic) outboxes() []*outbox {
	if t.outboxCache == nil {
		t.outboxCache = make([]*outbox, 0, len(t.subs))
		for s := range t.subs {
			t.outboxCache = append(t.outboxCache, s.box)
		}
	}
	return t.outboxCache
}

func wakeAll(list []*outbox) {
	for _, o := range list {
		o.wake()
	}
}

// catchUp fetches what the channel has kept and takes what is new. It fails only
// while Redis is away, and then the next subscription does it again.
func (t *topic) catchUp(ctx context.Context) {
	t.fetchMu.Lock()
	defer t.fetchMu.Unlock()
	if err := t.refresh(ctx); err == nil {
		t.bus.troubles.Over(historyUnread, "", "channels: history can be read again")
	} else if ctx.Err() == nil {
		t.bus.troubles.Note(historyUnread, "", err, "channel", t.name)
	}
}

// load makes the channel known if it is not. It is for a new subscription.
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

// refresh needs fetch.
func (t *topic) refresh(ctx context.Context) error {
	for {
		seq, kept, err := t.bus.tail(ctx, t.name)
		if err != nil {
			return err
		}
		list, missing := t.merge(seq, kept)
		wakeAll(list)
		if missing > 0 {
			t.bus.opts.Meter.ChannelGap(GapProcess)
			t.bus.opts.Logger.Warn("channels: messages lost", "channel", t.name, "before", missing)
		}
		t.mu.Lock()
		behind := t.pendingSeq > t.seq // it came while Redis was being asked
		t.pendingSeq = 0
		t.mu.Unlock()
		if !behind {
			return nil
		}
	}
}

// merge takes over what the channel has kept; missing is the first number behind
// a gap, or 0.
func (t *topic) merge(seq uint64, kept []string) (list []*outbox, missing uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := seq - min(seq, uint64(len(kept))) // the number before the first one kept
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
	return t.outboxes(), missing
}

// subscription is a place in a topic's ring.
type subscription struct {
	topic   *topic
	box     *outbox
	form    *Form
	wrap    func([]byte) item // how the connection's kind sends bytes
	onGap   func() item       // last item for a subscriber that lost messages and whose form has no word for a gap
	lastSeq uint64            // the last number that was taken; under outbox.mu
}

// next returns what comes next, if there is anything. It needs outbox.mu.
//
// If the ring has moved on past the subscriber's place, the subscriber gets the
// gap and continues with the oldest message that is kept. That says nothing about
// the client: this process may have had no time to write. A client that does not
// read is found by Options.SendTimeout.
func (s *subscription) next() (it item, ok bool) {
	for {
		f, lost := s.topic.nextAfter(s.lastSeq)
		if f == nil {
			return item{}, false
		}
		s.lastSeq = f.Seq
		it = f.encoded(s.form, s.wrap)
		encodable := it.data != nil || it.prepared != nil
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

// behind returns the first frame behind a number. If that frame is gone already,
// lost is true and f is a gap that ends before the oldest frame that is kept.
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

// Start is where a subscription begins.
type Start struct {
	Channel string
	// Resume: after the number Since, of which the client has all until then;
	// else with the next message.
	Resume bool
	Since  uint64
}

// Place is where it has begun: behind the number Seq. Gap says that messages
// between the two are lost.
type Position struct {
	Seq uint64
	Gap bool
}

// subscribe finds a channel and a place in it. The subscription is not attached
// to its outbox yet, so the client can be told of the place before all else.
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
	behind := start.Resume && start.Since > t.seq
	t.mu.Unlock()
	if behind {
		t.catchUp(ctx) // another process was faster, or Redis has forgotten all
	}
	p := t.register(start, s)
	if p.Gap {
		b.opts.Meter.ChannelGap(GapClient)
	}
	return p, nil
}

// enter gives s its place.
func (t *topic) register(start Start, s *subscription) Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs[s] = struct{}{}
	t.outboxCache = nil
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

// stop gives the place up.
func (s *subscription) stop() {
	t := s.topic
	t.mu.Lock()
	delete(t.subs, s)
	t.outboxCache = nil
	t.mu.Unlock()
	b := t.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.refs--; t.refs == 0 {
		delete(b.topics, t.name)
	}
}

// Channels returns the names of the channels that somebody here subscribes to.
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

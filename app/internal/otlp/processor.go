package otlp

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Limits of the spans that are held because their trace is not sampled.
const (
	maxHeld         = 8192 // in all traces together
	maxHeldPerTrace = 128
)

// processor passes the spans of sampled traces on. It holds those of other traces until no
// span of the trace is open in this process, and then passes them on if one of them has
// failed. Otherwise it drops them. It limits the queue of next.
type processor struct {
	next     sdk.SpanProcessor
	counters *Counters
	observe  func(sdk.ReadOnlySpan)
	queued   atomic.Int64 // spans that next has and that are not sent yet

	mu     sync.Mutex
	traces map[trace.TraceID]*heldTrace
	held   int // number of spans in traces
}

// heldTrace is a trace that is not sampled and has open spans in this process.
type heldTrace struct {
	open   int                // number of open spans
	spans  []sdk.ReadOnlySpan // spans that have ended
	lost   int64              // number of spans that have ended and were not held
	failed bool               // a span has the status error
}

func newProcessor(o Options) *processor {
	return &processor{counters: o.Counters, observe: o.Observe, traces: make(map[trace.TraceID]*heldTrace)}
}

// OnStart implements sdk.SpanProcessor.
func (p *processor) OnStart(_ context.Context, s sdk.ReadWriteSpan) {
	c := s.SpanContext()
	if c.IsSampled() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.traces[c.TraceID()]
	if t == nil {
		t = new(heldTrace)
		p.traces[c.TraceID()] = t
	}
	t.open++
}

// OnEnd implements sdk.SpanProcessor.
func (p *processor) OnEnd(s sdk.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		p.pass(s)
		return
	}
	t := p.hold(s)
	if t == nil || !t.failed {
		return
	}
	p.counters.dropped.Add(t.lost)
	for _, each := range t.spans {
		p.pass(sampledSpan{each})
	}
}

// hold adds a span to its trace. It returns the trace if that has no open span any more.
// In a trace that is too long, the span takes the place of the one before it, because the
// spans above it end last.
func (p *processor) hold(s sdk.ReadOnlySpan) *heldTrace {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := s.SpanContext().TraceID()
	t := p.traces[id]
	if t == nil {
		return nil // it started before the processor
	}
	if n := len(t.spans); n == maxHeldPerTrace || n > 0 && p.held >= maxHeld {
		t.spans[n-1] = s
		t.lost++
	} else {
		t.spans = append(t.spans, s)
		p.held++
	}
	t.failed = t.failed || s.Status().Code == codes.Error
	if t.open--; t.open > 0 {
		return nil
	}
	delete(p.traces, id)
	p.held -= len(t.spans)
	return t
}

// pass queues a span for the Collector, or drops it if the queue is full.
func (p *processor) pass(s sdk.ReadOnlySpan) {
	if p.queued.Add(1) > maxQueue {
		p.queued.Add(-1)
		p.counters.dropped.Add(1)
		return
	}
	p.observe(s)
	p.next.OnEnd(s)
}

// sent is called for each batch that has left the queue.
func (p *processor) sent(n int) { p.queued.Add(int64(-n)) }

// dropQueue counts the spans that are still in the queue as dropped.
func (p *processor) dropQueue() { p.counters.dropped.Add(p.queued.Swap(0)) }

// Shutdown implements sdk.SpanProcessor.
func (p *processor) Shutdown(ctx context.Context) error { return p.next.Shutdown(ctx) }

// ForceFlush implements sdk.SpanProcessor.
func (p *processor) ForceFlush(ctx context.Context) error { return p.next.ForceFlush(ctx) }

// sampledSpan is a span that is sampled although its trace is not: the SDK sends no other
// spans.
type sampledSpan struct{ sdk.ReadOnlySpan }

// SpanContext implements sdk.ReadOnlySpan.
func (s sampledSpan) SpanContext() trace.SpanContext {
	c := s.ReadOnlySpan.SpanContext()
	return c.WithTraceFlags(c.TraceFlags().WithSampled(true))
}

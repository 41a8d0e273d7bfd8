package tracing

import (
	"bytes"
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Names of the header fields of W3C Trace Context, which are also the names in the headers
// of a task.
const (
	Traceparent = "traceparent"
	Tracestate  = "tracestate"
)

// Environment variables that hand a Parent to a program
// (https://opentelemetry.io/docs/specs/otel/context/env-carriers/).
const (
	EnvTraceparent = "TRACEPARENT"
	EnvTracestate  = "TRACESTATE"
)

// Parent is the identity of a span in the text form of W3C Trace Context. The zero value is
// no span. State may only be set together with Span.
type Parent struct {
	Span  string // value of traceparent
	State string // value of tracestate; may be empty
}

// ParentOf returns the identity of the span of ctx, sampled or not. It is zero if there is
// none.
func ParentOf(ctx context.Context) Parent {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return Parent{}
	}
	c := carrier{new(Parent)}
	propagation.TraceContext{}.Inject(ctx, c)
	return *c.Parent
}

// Context returns a copy of ctx with the span, which another process may have started. It
// returns ctx itself if p is zero or not valid.
func (p Parent) Context(ctx context.Context) context.Context {
	if p.Span == "" {
		return ctx
	}
	read := p // a copy, so that a zero p stays on the stack
	return propagation.TraceContext{}.Extract(ctx, carrier{&read})
}

// TraceID returns the trace id, in hexadecimal digits, or an empty string if p is zero or not
// valid.
func (p Parent) TraceID() string {
	if p.Span == "" {
		return ""
	}
	c := trace.SpanContextFromContext(p.Context(context.Background()))
	if !c.IsValid() {
		return ""
	}
	return c.TraceID().String()
}

// AddTo returns the headers of a task, a JSON object or nil, with p. It returns the headers
// unchanged if p is zero, if they have a traceparent already, or if they would become
// longer than limit bytes.
func (p Parent) AddTo(headers json.RawMessage, limit int) json.RawMessage {
	if p.Span == "" {
		return headers
	}
	all := map[string]json.RawMessage{}
	if len(headers) > 0 && json.Unmarshal(headers, &all) != nil || all == nil {
		return headers
	}
	if _, given := all[Traceparent]; given {
		return headers
	}
	all[Traceparent] = text(p.Span)
	delete(all, Tracestate) // it belongs to another traceparent
	if p.State != "" {
		all[Tracestate] = text(p.State)
	}
	added, err := json.Marshal(all)
	if err != nil || len(added) > limit {
		return headers
	}
	return added
}

// text returns a string as JSON.
func text(s string) json.RawMessage {
	encoded, _ := json.Marshal(s) // a string can always be encoded
	return encoded
}

// ParentIn returns the identity of a span in the headers of a task. It is zero if there is
// none. Context checks whether it is valid.
func ParentIn(headers json.RawMessage) Parent {
	if !bytes.Contains(headers, []byte(Traceparent)) { // most tasks have none
		return Parent{}
	}
	return decode(headers)
}

func decode(headers json.RawMessage) (p Parent) {
	var all map[string]json.RawMessage
	if json.Unmarshal(headers, &all) != nil || json.Unmarshal(all[Traceparent], &p.Span) != nil {
		return Parent{}
	}
	if json.Unmarshal(all[Tracestate], &p.State) != nil {
		p.State = "" // a traceparent is valid without it
	}
	return p
}

// carrier is a Parent as a propagation.TextMapCarrier.
type carrier struct{ *Parent }

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(name string) string {
	switch name {
	case Traceparent:
		return c.Span
	case Tracestate:
		return c.State
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(name, value string) {
	switch name {
	case Traceparent:
		c.Span = value
	case Tracestate:
		c.State = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (carrier) Keys() []string { return propagation.TraceContext{}.Fields() }

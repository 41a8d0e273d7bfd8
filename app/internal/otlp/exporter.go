package otlp

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

const (
	maxQueue     = 2048 // spans that wait for the Collector
	maxBatch     = 512  // spans in one request
	batchDelay   = time.Second
	sendTimeout  = 5 * time.Second  // of one request
	batchTimeout = 15 * time.Second // of a batch, with its repetitions
)

// Options configure an Exporter.
type Options struct {
	Address Address
	// Rate is the part of the traces that are sampled, from 0 to 1. A trace that comes
	// from another program is sampled if that program has sampled it.
	Rate float64
	// Attributes describe the process.
	Attributes []attribute.KeyValue
	// Counters counts the spans. Default: no counting.
	Counters *Counters
	// Observe is called with each span that is queued for the Collector, from any goroutine.
	// It must not block. Default: no calls.
	Observe func(sdk.ReadOnlySpan)
	// Logger gets a line when the Collector cannot be reached, and when it can be again.
	// Default: no log.
	Logger *slog.Logger
}

// Counters counts spans.
type Counters struct{ sent, dropped atomic.Int64 }

// Stats are the values of Counters.
type Stats struct {
	Sent    int64 // spans that the Collector has accepted
	Dropped int64 // spans that were to be sent and are lost
}

// Stats returns the current values.
func (c *Counters) Stats() Stats { return Stats{c.sent.Load(), c.dropped.Load()} }

// Exporter makes spans and sends them to a Collector.
type Exporter struct {
	provider  *sdk.TracerProvider
	processor *processor
}

// New returns an Exporter that is running until Close. It opens no connection: that the
// Collector does not respond is not an error. It reads the variables
// OTEL_RESOURCE_ATTRIBUTES, which add to Options.Attributes, and OTEL_EXPORTER_OTLP_HEADERS,
// _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY and _COMPRESSION
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
func New(ctx context.Context, o Options) (*Exporter, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	if o.Observe == nil {
		o.Observe = func(sdk.ReadOnlySpan) {}
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(o.Attributes...))
	if err != nil {
		return nil, fmt.Errorf("describe process for traces: %w", err)
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpoint(o.Address.Host), otlptracehttp.WithURLPath(o.Address.Path), otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: sendTimeout, MaxElapsedTime: batchTimeout}),
	}
	if !o.Address.Secure {
		options = append(options, otlptracehttp.WithInsecure())
	}
	client, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("make exporter of traces: %w", err)
	}
	p := newProcessor(o)
	p.next = sdk.NewBatchSpanProcessor(
		&sender{next: client, ended: p.sent, counters: o.Counters, log: o.Logger, address: o.Address.Host},
		// processor keeps to maxQueue, so that the SDK drops no spans, which it would not count.
		sdk.WithMaxQueueSize(maxQueue+maxBatch), sdk.WithMaxExportBatchSize(maxBatch), sdk.WithBatchTimeout(batchDelay), sdk.WithExportTimeout(batchTimeout),
	)
	return &Exporter{processor: p, provider: sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysRecord(sdk.ParentBased(sdk.TraceIDRatioBased(o.Rate)))),
		sdk.WithResource(about), sdk.WithSpanProcessor(p), sdk.WithIDGenerator(tracing.IDs{}),
	)}, nil
}

// Provider returns the provider in which spans are started. It is nil for a nil Exporter.
func (e *Exporter) Provider() trace.TracerProvider {
	if e == nil {
		return nil
	}
	return e.provider
}

// Close sends the spans that have ended, until ctx ends. Spans that are still waiting then
// are counted as dropped.
func (e *Exporter) Close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	err := e.provider.Shutdown(ctx)
	e.processor.dropQueue()
	if err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}

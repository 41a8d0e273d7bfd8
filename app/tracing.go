package app

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/app/internal/otlp"
)

// slotKey is the attribute with the slot of a process.
const slotKey = attribute.Key("gale.slot")

// traceCounters returns the counters of spans, or nil without -trace.
func traceCounters(c config.Config) *otlp.Counters {
	if c.Trace == "" {
		return nil
	}
	return new(otlp.Counters)
}

// observe starts the reporting of the metrics and the profiles of a process, and its
// tracing. stop sends the last spans and then the last metrics.
func observe(ctx context.Context, child process, a Application, c config.Config, counters metrics.Sources, log *slog.Logger) (r *prometheus.Registry, traces *otlp.Exporter, stop func()) {
	r = metrics.NewRegistry(counters)
	var exemplars metrics.Exemplars
	stopReporting := startReporting(child, c, exemplars.With(r), counters, log)
	traces, stopTracing := startTracing(ctx, child, a, c, counters.Traces, exemplars.Observe, log)
	return r, traces, func() {
		stopTracing()
		stopReporting()
	}
}

// startTracing makes the exporter of the spans of a process. It also becomes the global
// provider of OpenTelemetry, which other libraries use. stop sends the last spans, within
// the grace period of the process. Without -trace the exporter is nil, and also if it cannot
// be made: a server without spans is better than none. ended is called with each span that is
// queued for the Collector.
func startTracing(ctx context.Context, child process, a Application, c config.Config, counters *otlp.Counters, ended func(sdk.ReadOnlySpan), log *slog.Logger) (e *otlp.Exporter, stop func()) {
	if c.Trace == "" {
		return nil, func() {}
	}
	attrs := []attribute.KeyValue{
		semconv.ServiceName(cmp.Or(a.Name, "gale")), semconv.ServiceVersion(release(a)), slotKey.String(child.Slot()), semconv.ProcessPID(os.Getpid()),
	}
	if host, err := os.Hostname(); err == nil {
		attrs = append(attrs, semconv.HostName(host))
	}
	address, err := otlp.Parse(c.Trace) // validated by package config
	if err == nil {
		e, err = otlp.New(ctx, otlp.Options{Address: address, Rate: c.TraceSample, Attributes: attrs, Counters: counters, Observe: ended, Logger: log})
	}
	if err != nil {
		log.Error("no spans are sent to the collector of -trace", "error", err)
		return nil, func() {}
	}
	otel.SetTracerProvider(e.Provider())
	otel.SetTextMapPropagator(propagation.TraceContext{})
	var leaving atomic.Int64 // time at which the drain began
	unwatch := context.AfterFunc(ctx, func() { leaving.Store(time.Now().UnixNano()) })
	return e, func() {
		unwatch()
		last := flushDeadline(time.Now(), leaving.Load(), c.Grace)
		flush, cancel := context.WithDeadline(context.Background(), last)
		defer cancel()
		if err := e.Close(flush); err != nil {
			log.Warn("spans lost at the end of the process", "error", err)
		}
	}
}

// flushDeadline returns the time at which the last spans must be sent: before the master
// kills the process, which it does a grace period after the drain has begun. leaving is
// that time in nanoseconds, or 0 if the process ends by itself.
func flushDeadline(now time.Time, leaving int64, grace time.Duration) time.Time {
	const most = 5 * time.Second
	if leaving == 0 {
		return now.Add(most)
	}
	killed := time.Unix(0, leaving).Add(grace)
	last := killed.Add(-(grace - drainTime(grace)) / 2)
	if most := now.Add(most); most.Before(last) {
		return most
	}
	return last
}

package otlp

import (
	"context"
	"log/slog"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// The backoff after a batch that could not be sent doubles from minBackoff to maxBackoff.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// sender sends batches. After a failure it drops the batches of the next seconds without
// a request, longer after each failure: a Collector that is away costs little, and one log
// line for each attempt. The SDK calls its methods one at a time.
type sender struct {
	next     sdk.SpanExporter
	ended    func(spans int) // called when a batch is sent or dropped
	counters *Counters
	log      *slog.Logger
	address  string // for the log

	pause time.Duration // last backoff; 0 after a success
	until time.Time     // end of the backoff
	lost  int           // spans dropped since the last success
}

// ExportSpans implements sdk.SpanExporter. It returns no error: the SDK would only log it
// again.
func (s *sender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	defer s.ended(len(spans))
	if time.Now().Before(s.until) {
		s.drop(spans)
		return nil
	}
	if err := s.next.ExportSpans(ctx, spans); err != nil {
		s.pause = min(max(2*s.pause, minBackoff), maxBackoff)
		s.until = time.Now().Add(s.pause)
		s.drop(spans)
		s.log.Warn("cannot send spans to the collector of -trace, dropping them", "address", s.address, "error", err, "dropped", s.lost, "retry_in", s.pause)
		return nil
	}
	s.counters.sent.Add(int64(len(spans)))
	if s.pause > 0 {
		s.log.Info("sending spans to the collector of -trace again", "address", s.address, "dropped", s.lost)
	}
	s.pause, s.lost = 0, 0
	return nil
}

func (s *sender) drop(spans []sdk.ReadOnlySpan) {
	s.lost += len(spans)
	s.counters.dropped.Add(int64(len(spans)))
}

// Shutdown implements sdk.SpanExporter.
func (s *sender) Shutdown(ctx context.Context) error { return s.next.Shutdown(ctx) }

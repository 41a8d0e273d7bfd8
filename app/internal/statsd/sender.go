package statsd

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/internal/sleep"
)

const (
	// interval is the time between two transmissions.
	interval = 10 * time.Second
	// maxInterval is the longest time until a failed transmission is repeated.
	maxInterval = 5 * time.Minute
	// timeout is the timeout of gathering the metrics, and that of sending them.
	timeout = 5 * time.Second
	// maxDatagram is the size that fits into an Ethernet frame with IPv6 and tunnels, as
	// statsd recommends.
	maxDatagram = 1432
)

// Options configure a Sender. The zero value of a field means the documented default.
type Options struct {
	// Resumed: another Sender has sent the counters before, in the same process. Their
	// values at the first transmission are then not sent.
	Resumed bool
	// Logger gets a record when sending fails, and when it succeeds again. Default: no log.
	Logger *slog.Logger
}

// Sender sends metrics. Make one with New.
type Sender struct {
	target Target
	gather func(context.Context) ([]*dto.MetricFamily, error)
	dial   func(context.Context) (net.Conn, error) // replaced in tests
	log    *slog.Logger
	up     atomic.Bool

	skip       bool                      // record the values of counters and do not send them
	counters   map[string]float64        // values that were sent, by series
	histograms map[string]*dto.Histogram // last histograms that were sent, by series
}

// New returns a Sender for the metrics that gather returns. Counters and the buckets of
// histograms must not decrease.
func New(target Target, gather func(context.Context) ([]*dto.MetricFamily, error), o Options) *Sender {
	return &Sender{
		target: target, gather: gather, skip: o.Resumed, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", target.Address) // resolves the host each time
		},
		counters: map[string]float64{}, histograms: map[string]*dto.Histogram{},
	}
}

// Up reports whether the last transmission succeeded. UDP does not report whether the
// datagrams arrived.
func (s *Sender) Up() bool { return s.up.Load() }

// Run sends the metrics every ten seconds until ctx is done, and then a last time. After a
// failure it waits up to five minutes; what counters have counted meanwhile is sent later.
// Run returns nil.
func (s *Sender) Run(ctx context.Context) error {
	if s.skip {
		s.try(ctx)
	}
	pause := interval
	for sleep.For(ctx, pause) {
		pause = min(2*pause, maxInterval)
		if s.try(ctx) {
			pause = interval
		}
	}
	_ = s.send(context.WithoutCancel(ctx)) // the metrics of a master that has ended cannot be gathered
	return nil
}

// try sends the metrics and logs a failure. It reports whether the metrics were sent.
func (s *Sender) try(ctx context.Context) bool {
	err := s.send(ctx)
	if ctx.Err() != nil {
		return false
	}
	failedBefore := !s.up.Swap(err == nil)
	switch {
	case err != nil:
		s.log.Warn("cannot send metrics to -statsd, counters are sent later", "error", err)
	case failedBefore:
		s.log.Info("sending metrics to -statsd", "addr", s.target.Address)
	}
	return err == nil
}

// send sends the metrics once.
func (s *Sender) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	families, err := s.gather(ctx)
	if err != nil && (s.skip || len(families) == 0) { // otherwise a few metrics are missing, and are sent later
		return fmt.Errorf("gather metrics: %w", err)
	}
	lines := s.lines(families)
	s.skip = false
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	return write(conn, lines)
}

// write sends lines in as few datagrams as possible, and records those that were sent.
func write(conn net.Conn, lines []line) error {
	var datagram strings.Builder
	var pending []func()
	flush := func() error {
		if datagram.Len() == 0 {
			return nil
		}
		if _, err := conn.Write([]byte(datagram.String())); err != nil {
			return err
		}
		for _, sent := range pending {
			sent()
		}
		datagram.Reset()
		pending = pending[:0]
		return nil
	}
	for _, l := range lines {
		if len(l.text) > maxDatagram {
			continue // no daemon would get it
		}
		if datagram.Len()+1+len(l.text) > maxDatagram {
			if err := flush(); err != nil {
				return err
			}
		}
		if datagram.Len() > 0 {
			datagram.WriteByte('\n')
		}
		datagram.WriteString(l.text)
		if l.sent != nil {
			pending = append(pending, l.sent)
		}
	}
	return flush()
}

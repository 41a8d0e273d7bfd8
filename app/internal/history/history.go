// Package history keeps the load of a server over the last hour and the last day.
//
//	totals of all processes ──every 10 s──► window ──► hour: 360 points of 10 s
//	                                          │
//	                                          └─sum──► day: 288 points of 5 minutes
//	                                                     │
//	                       file in -data ◄──every minute─┘
//
// The sizes are fixed. A point is the change of the totals in its time, so the series do not
// depend on who reads them. History runs in the master, and reads no other process.
package history

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

const (
	hourStep, hourSize = 10, 360 // seconds, points
	dayStep, daySize   = 300, 288
	// interval is the time between two readings of the totals.
	interval = hourStep * time.Second
	// saveInterval is the time between two writes of the file.
	saveInterval = time.Minute
	// minWindow and maxWindow limit the time between the readings from which a point is
	// computed. A shorter window is extended to the next reading. After a longer one the
	// points are unknown: the master was stopped, or the clock was set.
	minWindow, maxWindow = time.Second, time.Minute
	// sourceTimeout is the timeout of a reading.
	sourceTimeout = 5 * time.Second
)

// Source reads the totals of all processes.
type Source func(ctx context.Context) (Totals, error)

// Options configure a History.
type Options struct {
	// Path is the file that keeps the history through a restart. Default: none.
	Path string
	// Logger logs errors of the file. Default: none.
	Logger *slog.Logger
}

// History keeps the two series. Create it with New, call Restore, then Run once.
type History struct {
	file *file // nil: none
	log  *slog.Logger

	mu      sync.Mutex
	hour    series
	day     series
	partial partial
	last    Totals    // totals at the last reading
	at      time.Time // time of that reading
	encoded []byte    // result of JSON, until the next point
}

// partial is the sum of the windows in the last point of the day.
type partial struct {
	Bucket int64  `json:"bucket"`
	Window window `json:"window"`
}

// New returns an empty History.
func New(o Options) *History {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &History{log: o.Logger, hour: series{step: hourStep, size: hourSize}, day: series{step: dayStep, size: daySize}, at: time.Now()}
	if o.Path != "" {
		h.file = &file{path: o.Path, log: o.Logger}
	}
	return h
}

// Run reads the totals from source every ten seconds until ctx is done, and writes the file
// after the first reading, every minute and at the end. It returns nil: errors are logged.
func (h *History) Run(ctx context.Context, source Source) error {
	if h.file != nil {
		defer h.file.close()
	}
	var saved time.Time
	timer := time.NewTimer(untilNext(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			h.save()
			return nil
		case <-timer.C:
		}
		h.read(ctx, source)
		now := time.Now()
		if now.Sub(saved) >= saveInterval {
			h.save()
			saved = now
		}
		timer.Reset(untilNext(now))
	}
}

// untilNext returns the time until the end of the present point.
func untilNext(now time.Time) time.Duration {
	return interval - time.Duration(now.UnixNano())%interval
}

// read adds the point that ends now.
func (h *History) read(ctx context.Context, source Source) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	totals, err := source(ctx)
	if err != nil {
		h.log.Debug("cannot read the totals for the history", "error", err)
		return
	}
	h.add(totals, time.Now())
}

// add adds the window from the last reading until now. It belongs to the point in which its
// middle lies.
func (h *History) add(totals Totals, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	length := now.Sub(h.at) // by the monotonic clock, unless the last reading was in another program
	if length >= 0 && length < minWindow {
		return
	}
	w := between(h.last, totals, length)
	h.last, h.at = totals, now
	if length < 0 || length > maxWindow {
		return
	}
	middle := now.Add(-length / 2).Unix()
	h.hour.set(middle/hourStep, w.point())
	if bucket := middle / dayStep; bucket != h.partial.Bucket {
		h.partial = partial{Bucket: bucket}
	}
	h.partial.Window.add(w)
	h.day.set(h.partial.Bucket, h.partial.Window.point())
	h.encoded = nil
}

// JSON returns the two series, as {"series":{"hour":{"step","from","values"},"day":{…}}}. The
// caller must not change the result.
func (h *History) JSON() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.encoded != nil {
		return h.encoded, nil
	}
	now := time.Now().Unix()
	text, err := json.Marshal(map[string]map[string]encodedSeries{"series": {"hour": h.hour.encode(now), "day": h.day.encode(now)}})
	if err == nil {
		h.encoded = text
	}
	return text, err
}

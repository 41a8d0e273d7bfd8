package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// keepFor is how long kept returns the same metrics. To read those of the process takes
// more than a millisecond, which an idle server would spend twice a second in each process.
const keepFor = 5 * time.Second

// kept is a Collector of the Go runtime or of the process, whose metrics may be up to
// keepFor old.
type kept struct {
	prometheus.Collector

	mu   sync.Mutex
	last []prometheus.Metric
	at   time.Time
}

// Collect implements prometheus.Collector.
func (k *kept) Collect(out chan<- prometheus.Metric) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil || time.Since(k.at) >= keepFor {
		k.read()
	}
	for _, m := range k.last {
		out <- m
	}
}

func (k *kept) read() {
	metrics := make(chan prometheus.Metric)
	go func() { // ends when all metrics have been read
		defer close(metrics)
		k.Collector.Collect(metrics)
	}()
	k.last, k.at = nil, time.Now()
	for m := range metrics {
		k.last = append(k.last, m)
	}
}

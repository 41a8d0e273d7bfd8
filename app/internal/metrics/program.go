package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Program holds the counters of a worker program.
type Program struct {
	// Memory is the resident memory of the program and of the processes that it has started,
	// in bytes.
	Memory *atomic.Int64
	// DroppedLines counts the lines of its output that were not logged.
	DroppedLines atomic.Int64
}

var (
	programMemory  = desc("gale_program_memory_bytes", "Resident memory of the worker program and of the processes that it has started.")
	programDropped = desc("gale_program_output_dropped_total", "Lines of the worker program's output that were not logged, because it wrote too many.")
)

type programCollector struct{ *Program }

// Describe implements prometheus.Collector; see poolCollector.
func (programCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p programCollector) Collect(ch chan<- prometheus.Metric) {
	gauge(ch, programMemory, p.Memory.Load())
	counter(ch, programDropped, p.DroppedLines.Load())
}

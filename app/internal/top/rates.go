package top

import (
	"bytes"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prommodel "github.com/prometheus/common/model"
)

// sample holds counters of the slots at one time. A slot without a counter is not in it.
type sample struct {
	at            time.Time
	requests, cpu map[string]float64 // responses and CPU seconds, by slot
}

// parseSample reads a page in Prometheus' text format.
func parseSample(text []byte, at time.Time) (sample, error) {
	parser := expfmt.NewTextParser(prommodel.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return sample{}, err
	}
	return sample{at, sumBySlot(families["gale_http_requests_total"]), sumBySlot(families["process_cpu_seconds_total"])}, nil
}

func sumBySlot(f *dto.MetricFamily) map[string]float64 {
	sums := map[string]float64{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "slot" {
				sums[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return sums
}

// rate returns the increase of a slot's counter per second, or -1 if it is not known: after
// the first sample, or if the process has been replaced.
func rate(before, now map[string]float64, slot string, d time.Duration) float64 {
	was, ok := before[slot]
	is, too := now[slot]
	if !ok || !too || is < was || d <= 0 {
		return -1
	}
	return (is - was) / d.Seconds()
}

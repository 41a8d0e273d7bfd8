package harness

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics holds the metrics of one response of /metrics by name.
type Metrics map[string]*dto.MetricFamily

// Metrics requests /metrics.
func (g *Server) Metrics(t *testing.T) Metrics {
	t.Helper()
	code, body, err := Get("http://" + g.Admin + "/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("/metrics: %d, %v\n%s", code, err, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("/metrics: %v\n%s", err, body)
	}
	return families
}

// TryMetrics is like Metrics, but returns nil if the request fails, as it may
// during a reload of the master.
func (g *Server) TryMetrics() Metrics {
	code, body, err := Get("http://" + g.Admin + "/metrics")
	if err != nil || code != http.StatusOK {
		return nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return nil
	}
	return families
}

// Sum returns the sum of a metric over the series with these labels (name=value).
// Of a histogram or summary it adds up the counts.
func (s Metrics) Sum(name string, labels ...string) (total float64) {
	for _, m := range s[name].GetMetric() {
		have := make([]string, 0, len(m.Label))
		for _, l := range m.Label {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
			continue
		}
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue() +
			float64(m.GetHistogram().GetSampleCount()+m.GetSummary().GetSampleCount())
	}
	return total
}

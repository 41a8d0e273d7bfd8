package redisstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/redisstream"
)

// The configurations mostly wait, so they run in parallel.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"plain":   func(t *testing.T) string { return redistest.Start(t).URL() },
		"aof":     func(t *testing.T) string { return redistest.StartAOF(t).URL() },
		"cluster": func(t *testing.T) string { return redistest.StartCluster(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, address(t))
		})
	}
}

func conform(t *testing.T, address string) {
	jobstest.Run(t, func(t *testing.T, o jobstest.Options) driver.Store {
		t.Helper()
		s, err := redisstream.Open(t.Context(), address, redisstream.Options{
			// The stores of one check share a prefix.
			Prefix: strings.ReplaceAll(t.Name(), "/", "."), LeaseTTL: o.LeaseTTL, MaxLost: o.MaxLost, Keep: o.Keep,
			Patience: time.Minute, // a busy machine must not look like an unreachable server
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
